// Weights of Vision Transformers as others publish them: Hugging Face's `ViTForImageClassification` and timm's.
import { UserError } from '../../engine/base/errors.ts'
import { checkConfig, type ModelConfig } from '../../model/index.ts'
import { parameterShapes } from '../../model/shapes.ts'
import { type SafetensorsEntry, toFloat32 } from '../checkpoint/dtypes.ts'
import type { OpenSafetensors } from '../checkpoint/files.ts'
import type { Architecture } from './vitConfig.ts'

/** Reads one tensor as float32. */
type Read = (name: string) => Promise<SafetensorsEntry & { data: Float32Array }>

/** The names of one source, for layer l where they have one. */
interface Names {
  /** A tensor that only files of this source have. */
  mark: string
  cls: string
  positions: string
  patches: string
  norm: string
  classifier: string
  /** The last part of the name of a layer's tensor, without `weight` or `bias`, by ours. */
  layer: (l: number) => Record<'norm1' | 'attention.out' | 'norm2' | 'mlp.fc1' | 'mlp.fc2', string>
  /** Projections of layer l in the order q, k, v: three, or one that has all. */
  qkv: (l: number) => readonly string[]
}

const HUGGING_FACE: Names = {
  mark: 'embeddings.patch_embeddings.projection.weight',
  cls: 'embeddings.cls_token',
  positions: 'embeddings.position_embeddings',
  patches: 'embeddings.patch_embeddings.projection',
  norm: 'layernorm',
  classifier: 'classifier',
  layer: (l) => ({
    norm1: `encoder.layer.${l}.layernorm_before`,
    'attention.out': `encoder.layer.${l}.attention.output.dense`,
    norm2: `encoder.layer.${l}.layernorm_after`,
    'mlp.fc1': `encoder.layer.${l}.intermediate.dense`,
    'mlp.fc2': `encoder.layer.${l}.output.dense`,
  }),
  qkv: (l) => ['query', 'key', 'value'].map((name) => `encoder.layer.${l}.attention.attention.${name}`),
}

const TIMM: Names = {
  mark: 'patch_embed.proj.weight',
  cls: 'cls_token',
  positions: 'pos_embed',
  patches: 'patch_embed.proj',
  norm: 'norm',
  classifier: 'head',
  layer: (l) => ({
    norm1: `blocks.${l}.norm1`,
    'attention.out': `blocks.${l}.attn.proj`,
    norm2: `blocks.${l}.norm2`,
    'mlp.fc1': `blocks.${l}.mlp.fc1`,
    'mlp.fc2': `blocks.${l}.mlp.fc2`,
  }),
  qkv: (l) => [`blocks.${l}.attn.qkv`],
}

/** Prefixes that classes of Hugging Face put before the names of the backbone. */
const PREFIXES = ['', 'vit.', 'deit.', 'model.']

/** Tensors that a classifier does not use. */
const UNUSED = /^(?:\w+\.)?(pooler\.|decoder\.)|\.position_ids$/

/** A file of weights whose names are known. */
export interface VitSource {
  names: Names
  prefix: string
  file: OpenSafetensors
  path: string
}

/** Finds out whose names a file has. @throws UserError for a file of another model */
export function recognize(file: OpenSafetensors, path: string): VitSource {
  for (const names of [HUGGING_FACE, TIMM]) {
    const prefix = PREFIXES.find((prefix) => file.tensors.has(prefix + names.mark))
    if (prefix !== undefined) return { names, prefix, file, path }
  }
  throw new UserError(
    `${path}: holds no Vision Transformer that is known (no ${HUGGING_FACE.mark} and no ${TIMM.mark}); takes the weights of a ViT of Hugging Face or timm`,
  )
}

/**
 * Derives a model config from the shapes of the weights, and what shapes do not tell from the source's own config.
 * @param classes the classes of a fresh head; default those of the weights
 * @throws UserError in one line for weights that no ViT of ours computes with
 */
export function configOf(
  { names, prefix, file, path }: VitSource,
  source: Architecture,
  classes: number | undefined,
): ModelConfig {
  const shapeOf = (name: string, rank: number): readonly number[] => {
    const shape = file.tensors.get(prefix + name)?.shape ?? file.tensors.get(name)?.shape
    if (shape?.length !== rank) throw new UserError(`${path}: lacks ${prefix}${name}, or it has not ${rank} dims`)
    return shape
  }
  const [dim, channels, patchSize, width] = shapeOf(`${names.patches}.weight`, 4) as [number, number, number, number]
  if (patchSize !== width) throw new UserError(`${path}: has patches of ${patchSize} x ${width} pixels; takes square ones`)
  const tokens = shapeOf(names.positions, 3)[1]! - 1
  const side = Math.sqrt(tokens)
  if (!Number.isInteger(side)) {
    throw new UserError(
      `${path}: has ${tokens} positions of patches; takes a square, with one class token (a distilled DeiT has two)`,
    )
  }
  let depth = 0
  const has = (name: string) => file.tensors.has(prefix + name)
  while (has(`${names.layer(depth).norm1}.weight`)) depth++
  if (depth === 0) throw new UserError(`${path}: has no encoder layers`)
  const heads = source.heads ?? dim / 64
  if (!Number.isInteger(heads) || dim % heads !== 0) {
    throw new UserError(
      `${path}: the number of heads of width ${dim} is unknown; put the config.json of the model beside the file`,
    )
  }
  const found = file.tensors.get(`${names.classifier}.weight`)?.shape[0]
  if (classes === undefined && found === undefined)
    throw new UserError(`${path}: has no classifier; say the number of classes of a fresh one`)
  return checkConfig({
    ...{ architecture: 'vit', imageSize: side * patchSize, patchSize, channels, dim, heads, dimHead: dim / heads },
    ...{ mlpDim: shapeOf(`${names.layer(0)['mlp.fc1']}.weight`, 2)[0]!, depth, classes: classes ?? found },
    ...{ residual: 'preNorm', pool: 'cls', dropout: 0 },
    ...(has(`${names.qkv(0)[0]}.bias`) && { qkvBias: true }),
    normEps: source.normEps,
  })
}

/**
 * Reads the parameters of a ViT under our names, float32.
 * @param fresh whether the head's classifier is left out, since a fresh one takes its place
 * @throws UserError in one line when a tensor is missing, unknown or has another shape
 */
export async function readVit(source: VitSource, config: ModelConfig, fresh: boolean): Promise<Map<string, SafetensorsEntry>> {
  const { names, prefix, file, path } = source
  const used = new Set<string>()
  const read: Read = async (name) => {
    const full = file.tensors.has(prefix + name) ? prefix + name : name
    used.add(full)
    const entry = await file.read(full)
    return { ...entry, dtype: 'F32', data: toFloat32(entry) }
  }
  const found = new Map<string, SafetensorsEntry>()
  const take = async (own: string, name: string, bias = true) => {
    for (const part of bias ? ['weight', 'bias'] : ['weight']) found.set(`${own}.${part}`, await read(`${name}.${part}`))
  }
  const patches = await read(`${names.patches}.weight`)
  found.set('embed.weight', {
    dtype: 'F32',
    shape: [config.dim, config.patchSize ** 2 * config.channels],
    data: channelsLast(patches),
  })
  found.set('embed.bias', await read(`${names.patches}.bias`))
  found.set('clsToken', await read(names.cls))
  found.set('posEmbedding', await read(names.positions))
  const depth = config.architecture === 'vit' ? config.depth : 0
  for (let l = 0; l < depth; l++) {
    const layer = `branches.0.layers.${l}`
    for (const [own, name] of Object.entries(names.layer(l))) await take(`${layer}.${own}`, name)
    for (const part of config.qkvBias ? ['weight', 'bias'] : ['weight']) {
      const blocks = await Promise.all(names.qkv(l).map(async (name) => read(`${name}.${part}`)))
      found.set(`${layer}.attention.qkv.${part}`, joined(blocks))
    }
  }
  await take('head.norm', names.norm)
  if (fresh) for (const part of ['weight', 'bias']) used.add(`${names.classifier}.${part}`)
  else await take('head.linear', names.classifier)
  const unknown = [...file.tensors.keys()].filter((name) => !used.has(name) && !UNUSED.test(name))
  if (unknown.length > 0)
    throw new UserError(`${path}: has ${unknown.length} tensors that a ViT has not, such as ${unknown[0]}`)
  for (const [name, { shape }] of parameterShapes(config)) {
    const entry = found.get(name)
    if (entry && `${entry.shape}` !== `${shape}`)
      throw new UserError(
        `${path}: the values for ${name} are [${entry.shape.join(', ')}], a ViT of these sizes takes [${shape.join(', ')}]`,
      )
  }
  return found
}

/** Puts blocks of rows, or of elements, below each other. */
function joined(blocks: readonly (SafetensorsEntry & { data: Float32Array })[]): SafetensorsEntry {
  const [first] = blocks as [SafetensorsEntry & { data: Float32Array }]
  if (blocks.length === 1) return first
  const data = new Float32Array(blocks.reduce((sum, { data }) => sum + data.length, 0))
  let at = 0
  for (const block of blocks) {
    data.set(block.data, at)
    at += block.data.length
  }
  return {
    dtype: 'F32',
    shape: first.shape.with(
      0,
      blocks.reduce((sum, { shape }) => sum + shape[0]!, 0),
    ),
    data,
  }
}

/** Turns the weight of a convolution over patches [D, C, P, P] into rows of (row, column, channel), as the embedding reads patches. */
function channelsLast({ shape, data }: { shape: readonly number[]; data: Float32Array }): Float32Array<ArrayBuffer> {
  const [D, C, P] = shape as [number, number, number]
  const out = new Float32Array(data.length)
  for (let i = 0, at = 0; i < D; i++)
    for (let pixel = 0; pixel < P * P; pixel++) for (let c = 0; c < C; c++) out[at++] = data[(i * C + c) * P * P + pixel]!
  return out
}
