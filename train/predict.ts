import { capture, crossEntropy, noGrad, scope, type Tensor, tensor, UserError, zeros } from '../engine/index.ts'
import { checkPrefix, type ForwardOptions, type Model, type ModelConfig } from '../model/index.ts'
import { toFloat32 } from './checkpoint/files.ts'
import type { SafetensorsEntry, SafetensorsFile } from './checkpoint/safetensors.ts'
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
  spread?: BranchDevices | undefined
}

/** Normalised images, of which some are made when they are needed: [to - from, C, H, W], row-major. */
export interface PredictImages {
  count: number
  slice(from: number, to: number): Float32Array
}

/** Normalised images [B, C, H, W] and, if asked for, labels [B]. */
export interface PredictInput {
  images: Float32Array
  count: number
  labels?: Int32Array | undefined
}

/**
 * The tensors `images` and, if `labelled`, `labels` of a file, checked against the model.
 * @throws UserError in one line that says which tensor, what is wrong with it, and what it takes
 */
export function predictInput(path: string, { tensors }: SafetensorsFile, config: ModelConfig, labelled: boolean): PredictInput {
  const { channels, imageSize, classes } = config
  const takes = `float32 [B, ${channels}, ${imageSize}, ${imageSize}]`
  const images = tensors.get('images')
  if (!images) throw new UserError(`${path}: has no tensor "images"; give it as ${takes}`)
  const [count = 0, ...rest] = images.shape
  if (count < 1 || rest.join() !== [channels, imageSize, imageSize].join() || !images.dtype.startsWith('F')) {
    throw new UserError(`${path}: images are ${images.dtype} [${images.shape.join(', ')}]; this model takes ${takes}`)
  }
  if (!labelled) return { images: toFloat32(images), count }
  const entry = tensors.get('labels')
  if (!entry)
    throw new UserError(`${path}: has no tensor "labels", which --gradients needs; give it as int32 or int64 [${count}]`)
  return { images: toFloat32(images), count, labels: checkedLabels(path, entry, count, classes) }
}

function checkedLabels(path: string, entry: SafetensorsEntry, count: number, classes: number): Int32Array {
  if (entry.shape.join() !== String(count) || (entry.dtype !== 'I32' && entry.dtype !== 'I64')) {
    throw new UserError(
      `${path}: labels are ${entry.dtype} [${entry.shape.join(', ')}]; give them as int32 or int64 [${count}]`,
    )
  }
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
  input: PredictImages | PredictInput,
  options: PredictOptions = {},
  onDone?: (images: number) => void,
): Promise<{ logits: Float32Array; features: Float32Array }> {
  checkPrefix(model.config, options.branches)
  const { classes, dim } = model.config
  const { count } = input
  const slice = 'slice' in input ? input.slice : sliceOf(input)
  const chunk = chunkOf(model.config)
  const out = { logits: new Float32Array(count * classes), features: new Float32Array(count * dim) }
  model.eval()
  const { read, dispose } = options.spread ? spreadReader(options.spread, options) : reader(model, options)
  try {
    for (let from = 0; from < count; from += chunk) {
      const to = Math.min(count, from + chunk)
      const [logits, features] = await Promise.all(await read(slice(from, to), to - from))
      out.logits.set(logits, from * classes)
      out.features.set(features, from * dim)
      onDone?.(to)
    }
  } finally {
    dispose()
  }
  return out
}

/** Cuts images [count, C, H, W] without a copy. */
function sliceOf({ images, count }: PredictInput): PredictImages['slice'] {
  const pixels = images.length / count
  return (from, to) => images.subarray(from * pixels, to * pixels)
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
function spreadReader(devices: BranchDevices, { branches = devices.model.config.branches }: PredictOptions): Reader {
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
export function rehearsePrediction(model: Model, count: number, options: PredictOptions = {}): void {
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
  input: PredictInput,
  options: PredictOptions = {},
): Promise<Map<string, SafetensorsEntry>> {
  model.eval()
  const { branches, mode, spread } = options
  const { images, count, labels } = input
  const chunk = chunkOf(model.config)
  if (spread) return spread.gradients({ images, labels: labels! }, branches ?? spread.model.config.branches, chunk)
  const named = model.namedParameters()
  const slice = sliceOf(input)
  for (let from = 0; from < count; from += chunk) {
    scope(() => {
      const to = Math.min(count, from + chunk)
      const part = onDevice(model, slice(from, to), to - from)
      const logits = model.forward(part, { branches, mode }) // [b, classes]
      const loss = crossEntropy(logits, tensor(labels!.subarray(from, to)))
      loss.mul((to - from) / count).backward()
    })
    await model.head.linear.weight.device.flush()
  }
  const entries = named.map(async ([name, parameter]): Promise<[string, SafetensorsEntry]> => {
    const data = (await parameter.grad?.data()) ?? new Float32Array(parameter.size)
    parameter.grad?.dispose()
    parameter.grad = undefined
    return [name, { dtype: 'F32', shape: [...parameter.shape], data: data as Float32Array }]
  })
  return new Map(await Promise.all(entries))
}

/** Images [b, C, H, W] on the device. */
function onDevice({ config }: Model, images: Float32Array, b: number): Tensor {
  const { channels, imageSize } = config
  return tensor(images, { shape: [b, channels, imageSize, imageSize] })
}

/** Softmax of one row of logits, largest first, as [class, probability]. */
export function ranked(logits: ArrayLike<number>): [number, number][] {
  const row = Array.from(logits)
  const top = Math.max(...row)
  const weights = row.map((logit) => Math.exp(logit - top))
  const total = weights.reduce((sum, weight) => sum + weight, 0)
  return weights.map((weight, i): [number, number] => [i, weight / total]).sort((a, b) => b[1] - a[1])
}
