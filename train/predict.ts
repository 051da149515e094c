import { zeroGrad } from '../engine/autograd/backward.ts'
import { checkOptions } from '../engine/base/options.ts'
import { capture, crossEntropy, noGrad, scope, type Tensor, tensor, UserError, zeros } from '../engine/index.ts'
import { checkPrefix, type ForwardOptions, type Model, type ModelConfig } from '../model/index.ts'
import type { OpenSafetensors } from './checkpoint/files.ts'
import { toFloat32 } from './checkpoint/files.ts'
import type { SafetensorsEntry } from './checkpoint/safetensors.ts'
import type { BranchDevices } from './devices/branchDevices.ts'

/** Images computed at once, so that memory does not grow with their number; fewer where one of their tensors would be large. */
const CHUNK = 64
const CHUNK_BYTES = 2 ** 29

function chunkOf({ channels, imageSize, patchSize, dim, heads, dimHead, mlpDim }: ModelConfig): number {
  const tokens = (imageSize / patchSize) ** 2 + 1
  const largest = Math.max(channels * imageSize ** 2, tokens * Math.max(dim, 3 * heads * dimHead, mlpDim))
  return Math.max(1, Math.min(CHUNK, Math.floor(CHUNK_BYTES / (4 * largest))))
}

export type PredictOptions = Pick<ForwardOptions, 'branches' | 'mode'> & {
  /** Where the branches live, if not all on the model's device. */
  distributed?: BranchDevices | undefined
}

/** Normalised images, of which some are read or made when they are needed: [to - from, C, H, W], row-major. */
export interface PredictImages {
  count: number
  slice(from: number, to: number): Float32Array | Promise<Float32Array>
}

/** With labels [B], if they were asked for. */
export interface PredictInput extends PredictImages {
  labels?: Int32Array | undefined
}

/** Images [count, C, H, W] that are in memory; they are cut without a copy. */
export function imagesInMemory(images: Float32Array, count: number): PredictImages {
  const pixels = images.length / count
  return { count, slice: (from, to) => images.subarray(from * pixels, to * pixels) }
}

/**
 * The tensors `images` and, if `labelled`, `labels` of a file, checked against the model. Images are read when they are needed.
 * @throws UserError in one line that says which tensor, what is wrong with it, and what it takes
 */
export async function predictInput(
  path: string,
  file: OpenSafetensors,
  config: ModelConfig,
  labelled: boolean,
): Promise<PredictInput> {
  const { channels, imageSize, classes } = config
  const takes = `float32 [B, ${channels}, ${imageSize}, ${imageSize}]`
  const images = file.tensors.get('images')
  if (!images) throw new UserError(`${path}: has no tensor "images"; give it as ${takes}`)
  const [count = 0, ...rest] = images.shape
  if (count < 1 || rest.join() !== [channels, imageSize, imageSize].join() || !FLOATS.includes(images.dtype)) {
    throw new UserError(`${path}: images are ${images.dtype} [${images.shape.join(', ')}]; this model takes ${takes}`)
  }
  const slice = async (from: number, to: number) => toFloat32(await file.read('images', [from, to]))
  if (!labelled) return { count, slice }
  const labels = file.tensors.get('labels')
  if (!labels)
    throw new UserError(`${path}: has no tensor "labels", which --gradients needs; give it as int32 or int64 [${count}]`)
  if (labels.shape.join() !== String(count) || !['I32', 'I64'].includes(labels.dtype)) {
    throw new UserError(
      `${path}: labels are ${labels.dtype} [${labels.shape.join(', ')}]; give them as int32 or int64 [${count}]`,
    )
  }
  return { count, slice, labels: checkedLabels(path, await file.read('labels'), classes) }
}

/** Dtypes that images may have. */
const FLOATS = ['F32', 'F64', 'F16']

function checkedLabels(path: string, entry: SafetensorsEntry, classes: number): Int32Array {
  const labels = Int32Array.from(entry.data as ArrayLike<number | bigint>, Number)
  const at = labels.findIndex((label) => !(label >= 0 && label < classes))
  if (at >= 0)
    throw new UserError(
      `${path}: label ${labels[at]} at position ${at} is outside the ${classes} classes; use 0 to ${classes - 1}`,
    )
  return labels
}

/** Logits [B, classes] and features [B, D] (the pooled sum of the branches, before the head), row-major. */
export async function predict(
  model: Model,
  { count, slice }: PredictImages,
  options: PredictOptions = {},
  onDone?: (images: number) => void,
): Promise<{ logits: Float32Array; features: Float32Array }> {
  checkOptions('predict', options, { branches: true, mode: true, distributed: true })
  checkPrefix(model.config, options.branches)
  const { classes, dim } = model.config
  const chunk = chunkOf(model.config)
  const out = { logits: new Float32Array(count * classes), features: new Float32Array(count * dim) }
  model.eval()
  const { read, dispose } = options.distributed ? distributedReader(options.distributed, options) : reader(model, options)
  try {
    for (let from = 0; from < count; from += chunk) {
      const to = Math.min(count, from + chunk)
      const [logits, features] = await Promise.all(await read(await slice(from, to), to - from))
      out.logits.set(logits, from * classes)
      out.features.set(features, from * dim)
      onDone?.(to)
    }
  } finally {
    dispose()
  }
  return out
}

type Reads = readonly [logits: Promise<ArrayLike<number>>, features: Promise<ArrayLike<number>>]

/** Computes logits [b, classes] and features [b, D] of images [b, C, H, W]. */
interface Reader {
  read(images: Float32Array, b: number): Reads | Promise<Reads>
  dispose(): void
}

/** On one device. */
function reader(model: Model, options: PredictOptions): Reader {
  if (options.mode === 'coalesced') model.colocate()
  const forward = capture((images: Tensor) => infer(model, images, options))
  return { read: (images, b) => scope(() => dataOf(forward(onDevice(model, images, b)))), dispose: forward.dispose }
}

/** On several. */
function distributedReader(devices: BranchDevices, { branches = devices.model.config.branches }: PredictOptions): Reader {
  const pass = { branches, eachBranch: false }
  const head = (images: Tensor, outputs: Tensor) => dataOf(infer(devices.model, images, { branches, outputs }))
  return { read: (images, b) => devices.infer(images, b, pass, head), dispose() {} }
}

function dataOf({ logits, features }: ReturnType<typeof infer>): Reads {
  return [logits.data(), features.data()]
}

/** Logits [b, classes] and features [b, D] of images [b, C, H, W], off the tape. */
function infer(
  model: Model,
  images: Tensor,
  options: Pick<ForwardOptions, 'branches' | 'mode' | 'outputs'>,
): { logits: Tensor; features: Tensor } {
  return noGrad(() => {
    const { branches, mode, outputs } = options
    const features = model.features(images, { branches, mode, outputs })
    return { logits: model.head.forward(features), features }
  })
}

/** Predicts on zeros, for `tuneDevice()` to see what `predict` is going to do with so many images. */
export function dryRunPrediction(model: Model, count: number, options: PredictOptions = {}): void {
  const { channels, imageSize } = model.config
  model.eval()
  infer(model, zeros([Math.min(count, chunkOf(model.config)), channels, imageSize, imageSize]), options)
}

/**
 * Gradients of the mean cross-entropy for every parameter that it reaches, by checkpoint name; dropout off.
 * Parameters of branches after the prefix get zeros.
 */
export async function gradients(
  model: Model,
  { count, slice, labels }: PredictInput,
  options: PredictOptions = {},
): Promise<Map<string, SafetensorsEntry>> {
  model.eval()
  const { branches, mode, distributed } = options
  const chunk = chunkOf(model.config)
  if (distributed) {
    const images = await slice(0, count)
    return distributed.gradients({ images, labels: labels! }, branches ?? distributed.model.config.branches, chunk)
  }
  const named = model.namedParameters()
  for (let from = 0; from < count; from += chunk) {
    const to = Math.min(count, from + chunk)
    const images = await slice(from, to)
    scope(() => {
      const part = onDevice(model, images, to - from)
      const logits = model.forward(part, { branches, mode }) // [b, classes]
      const loss = crossEntropy(logits, tensor(labels!.subarray(from, to), { device: model.posEmbedding.device }))
      loss.mul((to - from) / count).backward()
    })
    await model.head.linear.weight.device.flush()
  }
  const entries = named.map(async ([name, parameter]): Promise<[string, SafetensorsEntry]> => {
    const data = (await parameter.grad?.data()) ?? new Float32Array(parameter.size)
    zeroGrad([parameter])
    return [name, { dtype: 'F32', shape: [...parameter.shape], data: data as Float32Array }]
  })
  return new Map(await Promise.all(entries))
}

/** Images [b, C, H, W] on the device. */
function onDevice({ config, posEmbedding }: Model, images: Float32Array, b: number): Tensor {
  const { channels, imageSize } = config
  return tensor(images, { shape: [b, channels, imageSize, imageSize], device: posEmbedding.device })
}

/** Softmax of one row of logits, largest first, as [class, probability]. */
export function ranked(logits: ArrayLike<number>): [number, number][] {
  const row = Array.from(logits)
  const top = Math.max(...row)
  const weights = row.map((logit) => Math.exp(logit - top))
  const total = weights.reduce((sum, weight) => sum + weight, 0)
  return weights.map((weight, i): [number, number] => [i, weight / total]).sort((a, b) => b[1] - a[1])
}
