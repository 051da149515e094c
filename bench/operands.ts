import { normal, seededRandom } from '../kernels/fill.ts'
import type { Workload } from './workloads.ts'

/** An operand: float32, or int32 for labels, row-major. */
export interface Operand {
  shape: number[]
  data: Float32Array<ArrayBuffer> | Int32Array<ArrayBuffer>
}

/** Makes the operands of a workload by name, with the same values in every call. Those of a step include its parameters. */
export function operandsOf(w: Workload): Record<string, Operand> {
  const random = seededRandom(7)
  const drawn = Float32Array.from({ length: 65521 }, () => normal(random))
  let next = 0
  /** Draws normally distributed values. Large operands repeat the drawn ones, and each operand begins at another of them. */
  const values = (shape: number[], deviation = 1, mean = 0): Operand => {
    next += 7919
    const data = new Float32Array(shape.reduce((product, size) => product * size, 1))
    for (let i = 0; i < data.length; i++) data[i] = mean + deviation * drawn[(next + i) % drawn.length]!
    return { shape, data }
  }
  const labels = (count: number, classes: number): Operand => ({
    shape: [count],
    data: Int32Array.from({ length: count }, (_, i) => (7 * i) % classes),
  })
  const weight = (outputs: number, inputs: number) => values([outputs, inputs], 1 / Math.sqrt(inputs))
  const linear = (name: string, inputs: number, outputs: number) => ({
    [`${name}.weight`]: weight(outputs, inputs),
    [`${name}.bias`]: values([outputs], 0.1),
  })
  const norm = (name: string, dim: number) => ({
    [`${name}.weight`]: values([dim], 0.1, 1),
    [`${name}.bias`]: values([dim], 0.1),
  })
  const layer = (prefix: string, dim: number, inner: number, mlp: number) => ({
    ...norm(`${prefix}norm1`, dim),
    [`${prefix}attention.qkv.weight`]: weight(3 * inner, dim),
    ...linear(`${prefix}attention.out`, inner, dim),
    ...norm(`${prefix}norm2`, dim),
    ...linear(`${prefix}mlp.fc1`, dim, mlp),
    ...linear(`${prefix}mlp.fc2`, mlp, dim),
  })
  switch (w.kind) {
    case 'matmul': {
      const stacked = (rows: number, columns: number) => values(w.batch > 1 ? [w.batch, rows, columns] : [rows, columns])
      return {
        a: w.form === 'TN' ? stacked(w.k, w.m) : stacked(w.m, w.k),
        b: w.form === 'NT' ? stacked(w.n, w.k) : stacked(w.k, w.n),
      }
    }
    case 'softmax':
      return { x: values([w.rows, w.n]) }
    case 'layerNorm':
      return { x: values([w.rows, w.n]), ...norm('norm', w.n) }
    case 'attention':
    case 'attentionStep': {
      const shape = [w.batch, w.heads, w.tokens, w.width]
      return { q: values(shape), k: values(shape), v: values(shape) }
    }
    case 'maskedSoftmax':
      return {
        x: values([w.batch, w.heads, w.tokens, w.tokens]),
        mask: { shape: [w.tokens, w.tokens], data: causalMask(w.tokens) },
      }
    case 'einsum': {
      const shape = [w.batch, w.heads, w.tokens, w.width]
      return { q: values(shape), k: values(shape) }
    }
    case 'topk':
    case 'sort':
      return { x: values([w.rows, w.n]) }
    case 'scatterAdd':
      return {
        x: values([w.rows, w.width]),
        index: { shape: [w.count], data: Int32Array.from({ length: w.count }, () => Math.floor(w.rows * random())) },
        src: values([w.count, w.width]),
      }
    case 'conv2d':
    case 'convStep': {
      const { batch, channels, size } = w
      const convolution = (name: string) => ({
        [`${name}.weight`]: values([channels, channels, 3, 3], 1 / Math.sqrt(9 * channels)),
        [`${name}.bias`]: values([channels], 0.1),
      })
      const x = values([batch, channels, size, size])
      return w.kind === 'conv2d' ? { x, ...convolution('conv') } : { x, ...convolution('conv1'), ...convolution('conv2') }
    }
    case 'addChain':
    case 'mulChain': {
      const shape = [w.size, w.size]
      // Factors near 1 keep the product of many in range.
      const y = values(shape, w.kind === 'mulChain' ? 1e-3 : 1, 1)
      const one = { shape, data: new Float32Array(w.size ** 2).fill(1) }
      return { x: values(shape), y, ...(w.kind === 'mulChain' && { one }) }
    }
    case 'add':
      return { a: values([w.n]), b: values([w.n]) }
    case 'mlpStep':
      return {
        x: values([w.batch, w.inputs]),
        labels: labels(w.batch, w.classes),
        ...linear('fc1', w.inputs, w.hidden),
        ...linear('fc2', w.hidden, w.classes),
      }
    case 'blockStep':
      return { x: values([w.batch, w.tokens, w.dim]), ...layer('', w.dim, w.dim, w.mlp) }
    case 'modelStep': {
      const { channels, imageSize, patchSize, dim, heads, dimHead, mlpDim, branches, branchDepth, classes } = w.config
      const tokens = (imageSize / patchSize) ** 2 + 1
      const layers = Array.from({ length: branches * branchDepth }, (_, i) =>
        layer(`branches.${Math.floor(i / branchDepth)}.layers.${i % branchDepth}.`, dim, heads * dimHead, mlpDim),
      )
      return {
        images: values([w.batch, channels, imageSize, imageSize]),
        labels: labels(w.batch, classes),
        ...linear('embed', channels * patchSize ** 2, dim),
        clsToken: values([1, 1, dim], 0.1),
        posEmbedding: values([1, tokens, dim], 0.1),
        ...Object.assign({}, ...layers),
        ...norm('head.norm', dim),
        ...linear('head.linear', dim, classes),
      }
    }
  }
}

/** Returns a mask [tokens, tokens] to add to scores: 0 where a token sees another one, itself or one before it, else -Infinity. */
export function causalMask(tokens: number): Float32Array<ArrayBuffer> {
  return Float32Array.from({ length: tokens ** 2 }, (_, i) =>
    i % tokens > Math.floor(i / tokens) ? Number.NEGATIVE_INFINITY : 0,
  )
}

/** Returns the operands that a step trains: all but images, other inputs and labels. */
export function parametersOf(operands: Record<string, Operand>): Record<string, Operand> {
  return Object.fromEntries(Object.entries(operands).filter(([name]) => !['x', 'images', 'labels'].includes(name)))
}
