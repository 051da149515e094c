import { checkFunction, checkWhole, refusal } from '../engine/base/checks.ts'
import { checkOptions } from '../engine/base/options.ts'
import { crossEntropy, noGrad, scope, type Tensor, UserError, zeros } from '../engine/index.ts'
import { checkPrefix, type ForwardOptions, type Model, type ModelConfig } from '../model/index.ts'
import { type SafetensorsEntry, toFloat32 } from './checkpoint/dtypes.ts'
import type { OpenSafetensors } from './checkpoint/files.ts'
import type { BranchDevices } from './devices/branchDevices.ts'
import { checkInference, type InferenceOptions, inference } from './inference.ts'
import { imageTensor, inputShape, labelTensor } from './modelInput.ts'
import { type Entries, takeGradients } from './modelState.ts'

/** Largest number of images that are computed at once, so that memory does not grow with the number of images. */
const CHUNK = 64
/** Largest number of bytes of a tensor of a chunk. */
const CHUNK_BYTES = 2 ** 29

/** Returns the number of images that are computed at once. */
function chunkOf({ channels, imageSize, patchSize, dim, heads, dimHead, mlpDim }: ModelConfig): number {
  const tokens = (imageSize / patchSize) ** 2 + 1
  const largest = Math.max(channels * imageSize ** 2, tokens * Math.max(dim, 3 * heads * dimHead, mlpDim))
  return Math.max(1, Math.min(CHUNK, Math.floor(CHUNK_BYTES / (4 * largest))))
}

export type PredictOptions = Pick<ForwardOptions, 'branches' | 'mode'> & {
  /** The devices on which the branches live; default the model's alone. */
  distributed?: BranchDevices | undefined
}

/** Normalised images that are read or made when they are needed. */
export interface PredictImages {
  count: number
  /** Returns the images [from, to), row-major [to - from, C, H, W]. */
  slice(from: number, to: number): Float32Array | Promise<Float32Array>
}

/** The images of a file. */
export interface PredictInput extends PredictImages {
  /** Labels [B], if they were asked for. */
  labels?: Int32Array | undefined
}

/** Makes the input of images [count, C, H, W] in memory, which it cuts without copies. */
export function imagesInMemory(images: Float32Array, count: number): PredictImages {
  const pixels = images.length / count
  return { count, slice: (from, to) => images.subarray(from * pixels, to * pixels) }
}

/**
 * Checks the tensors `images` and `labels` of a file against the model. Images are read when they are needed.
 * @param path the file's name, which starts every error message
 * @param labelled whether labels are needed
 * @throws UserError in one line: which tensor, what is wrong, what the model takes
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

/** Dtypes of images. */
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

/**
 * Computes logits [B, classes] and features [B, D] (the pooled sum of the branches, before the head), row-major; features of an ensemble
 * are those of its members side by side, [B, m * D].
 * @param onDone is called after each chunk with the images done so far
 * @throws UserError for a prefix that does not exist; ArgumentError for arguments of a wrong kind and unknown options
 */
export async function predict(
  model: Model,
  images: PredictImages,
  options: PredictOptions = {},
  onDone?: (images: number) => void,
): Promise<{ logits: Float32Array; features: Float32Array }> {
  checkOptions('predict', options, { branches: true, mode: true, distributed: true })
  checkInference('predict', model, options.distributed ?? options.mode ?? 'serial')
  if (typeof images !== 'object' || typeof images?.slice !== 'function' || !('count' in images))
    throw refusal('predict', images, '{ count, slice(from, to) }', 'images')
  checkWhole('predict', images.count, 'the number of images', 0)
  if (onDone !== undefined) checkFunction('predict', onDone, 'onDone')
  const { count } = images
  const branches = checkPrefix(model.config, options.branches)
  const { classes, dim, architecture } = model.config
  // Members of an ensemble have features of their own.
  const width = architecture === 'ensemble' ? branches * dim : dim
  const chunk = chunkOf(model.config)
  const out = { logits: new Float32Array(count * classes), features: new Float32Array(count * width) }
  model.eval()
  const how = options.distributed ?? options.mode ?? 'serial'
  const { run, dispose } = inference(model, how, { branches, eachBranch: false }, (batch, settings) =>
    infer(model, batch, settings),
  )
  try {
    for (let from = 0; from < count; from += chunk) {
      const to = Math.min(count, from + chunk)
      const [logits, features] = await run(await images.slice(from, to), to - from)
      out.logits.set(logits!, from * classes)
      out.features.set(features!, from * width)
      onDone?.(to)
    }
  } finally {
    dispose()
  }
  return out
}

/** Returns logits [b, classes] and features [b, D] of images [b, C, H, W], off the tape. */
function infer(model: Model, images: Tensor, options: InferenceOptions): [logits: Tensor, features: Tensor] {
  return noGrad(() => {
    const features = model.features(images, options)
    return [model.classify(features), features]
  })
}

/** Predicts `count` images of zeros, so that `tuneDevice()` sees the dispatches of `predict`. */
export function dryRunPrediction(model: Model, count: number, { branches, mode }: PredictOptions = {}): void {
  model.eval()
  infer(model, zeros(inputShape(model.config, Math.min(count, chunkOf(model.config)))), { branches, mode })
}

/**
 * Computes the gradients of the mean cross-entropy for every parameter by checkpoint name; dropout is off.
 * Parameters of branches after the prefix get zeros.
 */
export async function gradients(
  model: Model,
  { count, slice, labels }: PredictInput,
  options: PredictOptions = {},
): Promise<Entries> {
  model.eval()
  const { branches, mode, distributed } = options
  const chunk = chunkOf(model.config)
  if (distributed) {
    const images = await slice(0, count)
    return distributed.gradients({ images, labels: labels! }, branches ?? distributed.model.config.branches, chunk)
  }
  for (let from = 0; from < count; from += chunk) {
    const to = Math.min(count, from + chunk)
    const images = await slice(from, to)
    scope(() => {
      const logits = model.forward(imageTensor(model, images, to - from), { branches, mode }) // [b, classes]
      const loss = crossEntropy(logits, labelTensor(model, labels!.subarray(from, to)))
      loss.mul((to - from) / count).backward()
    })
    await model.device.flush()
  }
  return takeGradients(model.namedParameters())
}

/** Returns the softmax of one row of logits as [class, probability], the largest first. */
export function ranked(logits: ArrayLike<number>): [number, number][] {
  const row = Array.from(logits)
  const top = Math.max(...row)
  const weights = row.map((logit) => Math.exp(logit - top))
  const total = weights.reduce((sum, weight) => sum + weight, 0)
  return weights.map((weight, i): [number, number] => [i, weight / total]).sort((a, b) => b[1] - a[1])
}
