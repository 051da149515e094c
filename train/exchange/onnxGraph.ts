import { branchShape, type ModelConfig } from '../../model/index.ts'
import type { OnnxConstant, OnnxGraph, OnnxNode } from './onnxFile.ts'

/** Values of a model's parameters by name, row-major. */
export type Weights = ReadonlyMap<string, { shape: readonly number[]; data: Float32Array }>

/** The batch of inputs and outputs, which may have any size. */
const BATCH = 'batch'

/**
 * Writes the forward pass of a model, or of a prefix, as an ONNX graph of opset 17, whose operators every runtime has: `images` [batch, C, H, W], normalised,
 * to `logits` [batch, classes] and, but for an ensemble, `features` [batch, D], the input of the head.
 * @param branches the branches, or the members, of the prefix
 */
export function onnxGraph(config: ModelConfig, weights: Weights, branches: number): OnnxGraph {
  const graph = new Graph(weights)
  const { channels, imageSize, classes, dim } = config
  const outputs = [{ name: 'logits', shape: [BATCH, classes] }]
  if (config.architecture === 'ensemble') {
    const { members: _, ...shared } = config
    const logits = Array.from({ length: branches }, (_, i) => {
      return visionGraph(graph, { ...shared, architecture: 'vit' }, `members.${i}.`, 1).logits
    })
    graph.add('Mean', logits, {}, 'logits')
  } else {
    const { features, logits } = visionGraph(graph, config, '', branches)
    graph.add('Identity', [features], {}, 'features')
    graph.add('Identity', [logits], {}, 'logits')
    outputs.push({ name: 'features', shape: [BATCH, dim] })
  }
  const inputs = [{ name: 'images', shape: [BATCH, channels, imageSize, imageSize] }]
  return { nodes: graph.nodes, constants: graph.constants, inputs, outputs }
}

/** Adds stem, branches, sum and head. @param prefix stands before the names of the parameters */
function visionGraph(
  graph: Graph,
  config: ModelConfig,
  prefix: string,
  branches: number,
): { features: string; logits: string } {
  const { imageSize, patchSize, channels, dim, pool, normEps = 1e-5 } = config
  const side = imageSize / patchSize
  const cut = graph.reshape('images', [-1, channels, side, patchSize, side, patchSize])
  const patches = graph.reshape(graph.transpose(cut, [0, 2, 4, 3, 5, 1]), [-1, side * side, patchSize ** 2 * channels]) // [B, T, P P C]
  const tokens = graph.linear(patches, `${prefix}embed`) // [B, T, D]
  const batch = graph.add('Slice', [graph.add('Shape', ['images']), graph.ints([0]), graph.ints([1])])
  const clsShape = graph.add('Concat', [batch, graph.ints([1, dim])], { axis: 0 })
  const cls = graph.add('Expand', [graph.weight(`${prefix}clsToken`), clsShape]) // [B, 1, D]
  const x = graph.add('Add', [graph.add('Concat', [cls, tokens], { axis: 1 }), graph.weight(`${prefix}posEmbedding`)]) // [B, T + 1, D]
  const { depth } = branchShape(config)
  const outputs = Array.from({ length: branches }, (_, i) => {
    let z = x
    for (let l = 0; l < depth; l++) {
      // With CLS pooling the last layer computes the CLS row alone.
      const clsOnly = pool === 'cls' && l === depth - 1
      z = layerGraph(graph, config, `${prefix}branches.${i}.layers.${l}`, z, clsOnly)
    }
    return pool === 'cls' ? graph.reshape(z, [-1, dim]) : graph.add('ReduceMean', [z], { axes: [1], keepdims: 0 }) // [B, D]
  })
  const features = outputs.length > 1 ? graph.add('Sum', outputs) : outputs[0]! // [B, D]
  const logits = graph.linear(graph.norm(features, `${prefix}head.norm`, normEps), `${prefix}head.linear`) // [B, classes]
  return { features, logits }
}

/** Adds an encoder layer on z [B, N, D]. @returns the result [B, N, D], or its CLS row [B, 1, D] */
function layerGraph(graph: Graph, config: ModelConfig, name: string, z: string, clsOnly: boolean): string {
  const { imageSize, patchSize, heads, dimHead, residual, normEps = 1e-5, qkvBias = false } = config
  const N = (imageSize / patchSize) ** 2 + 1
  const rows = clsOnly ? 1 : N
  const inner = heads * dimHead
  const cls = (t: string) => (clsOnly ? graph.add('Slice', [t, graph.ints([0]), graph.ints([1]), graph.ints([1])]) : t)
  const u = graph.norm(z, `${name}.norm1`, normEps) // [B, N, D]
  const project = (t: string, block: number, count: number, order: number[]) => {
    const part: [number, number] = [block * inner, (block + 1) * inner]
    const projected = graph.linear(t, `${name}.attention.qkv`, qkvBias, part) // [B, count, H Dh]
    return graph.transpose(graph.reshape(projected, [-1, count, heads, dimHead]), order)
  }
  const q = project(cls(u), 0, rows, [0, 2, 1, 3]) // [B, H, rows, Dh]
  const k = project(u, 1, N, [0, 2, 3, 1]) // [B, H, Dh, N]
  const v = project(u, 2, N, [0, 2, 1, 3]) // [B, H, N, Dh]
  const scores = graph.add('Mul', [graph.add('MatMul', [q, k]), graph.float(dimHead ** -0.5)])
  const values = graph.add('MatMul', [graph.add('Softmax', [scores], { axis: -1 }), v]) // [B, H, rows, Dh]
  const gathered = graph.reshape(graph.transpose(values, [0, 2, 1, 3]), [-1, rows, inner])
  const y = graph.add('Add', [graph.linear(gathered, `${name}.attention.out`), cls(residual === 'paper' ? u : z)]) // [B, rows, D]
  const w = graph.norm(y, `${name}.norm2`, normEps) // [B, rows, D]
  const hidden = graph.gelu(graph.linear(w, `${name}.mlp.fc1`))
  return graph.add('Add', [graph.linear(hidden, `${name}.mlp.fc2`), residual === 'paper' ? w : y])
}

/** The nodes and constants of a graph that is being written. */
class Graph {
  readonly nodes: OnnxNode[] = []
  readonly constants: OnnxConstant[] = []
  readonly #names = new Set<string>()
  readonly #weights: Weights

  constructor(weights: Weights) {
    this.#weights = weights
  }

  /** Adds a node of one output. @returns the name of the output */
  add(
    op: string,
    inputs: readonly string[],
    attributes: OnnxNode['attributes'] = {},
    name = `${op}_${this.nodes.length}`,
  ): string {
    this.nodes.push({ op, inputs, outputs: [name], attributes })
    return name
  }

  reshape(x: string, shape: readonly number[]): string {
    return this.add('Reshape', [x, this.ints(shape)])
  }

  transpose(x: string, perm: readonly number[]): string {
    return this.add('Transpose', [x], { perm })
  }

  /** LayerNorm over the last dim. */
  norm(x: string, name: string, eps: number): string {
    return this.add('LayerNormalization', [x, this.weight(`${name}.weight`), this.weight(`${name}.bias`)], {
      axis: -1,
      epsilon: { float: eps },
    })
  }

  /** x W^T + b. @param rows the outputs that are computed, of all of the layer's */
  linear(x: string, name: string, bias = true, rows?: readonly [number, number]): string {
    const product = this.add('MatMul', [x, this.#transposed(`${name}.weight`, rows)])
    return bias ? this.add('Add', [product, this.weight(`${name}.bias`, rows)]) : product
  }

  /** GELU in its exact form, x (1 + erf(x / sqrt(2))) / 2. */
  gelu(x: string): string {
    const erf = this.add('Erf', [this.add('Mul', [x, this.float(Math.SQRT1_2)])])
    return this.add('Mul', [this.add('Mul', [x, this.float(0.5)]), this.add('Add', [erf, this.float(1)])])
  }

  /** A parameter, or some of its elements, as it is. */
  weight(name: string, rows?: readonly [number, number]): string {
    const { shape, data } = this.#weights.get(name)!
    const part = rows ? { shape: [rows[1] - rows[0]], data: data.subarray(...rows) } : { shape, data }
    return this.#constant(rows ? `${name}[${rows.join(':')}]` : name, part)
  }

  ints(values: readonly number[]): string {
    return this.#constant(`ints_${values.join('_')}`, { shape: [values.length], data: BigInt64Array.from(values, BigInt) })
  }

  float(value: number): string {
    return this.#constant(`float_${value}`, { shape: [], data: Float32Array.of(value) })
  }

  /** The weight of a linear layer as [in, out]. */
  #transposed(name: string, rows?: readonly [number, number]): string {
    const { shape, data } = this.#weights.get(name)!
    const [outputs, inputs] = shape as [number, number]
    const [from, to] = rows ?? [0, outputs]
    const full = `${name}${rows ? `[${rows.join(':')}]` : ''}.T`
    if (this.#names.has(full)) return full
    const out = new Float32Array((to - from) * inputs)
    for (let i = 0, at = 0; i < inputs; i++) for (let o = from; o < to; o++) out[at++] = data[o * inputs + i]!
    return this.#constant(full, { shape: [inputs, to - from], data: out })
  }

  #constant(name: string, value: Omit<OnnxConstant, 'name'>): string {
    if (!this.#names.has(name)) this.constants.push({ name, ...value })
    this.#names.add(name)
    return name
  }
}
