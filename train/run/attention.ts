import * as v from 'valibot'
import { files } from '#platform'
import { amount, count, fields, listOf, text } from '../../engine/base/json.ts'
import { clsAttention, Ensemble, type Model, ParaFormer, ViT } from '../../model/index.ts'
import type { BatchLoader } from '../data/loader.ts'
import { imageTensor } from '../modelInput.ts'
import { FORMAT } from './format.ts'
import type { DataInfo } from './metadata.ts'

/** Images whose attention is kept, of different classes where there are so many. */
const SAMPLES = 6
/** Pixels of a side above which no attention is kept, since the file holds the images. */
const MOST_PIXELS = 256

/** The schema of attention.json. */
export const ATTENTION = fields({
  format: count,
  channels: count,
  /** Pixels of a side of the images. */
  size: count,
  /** Patches of a side. */
  grid: count,
  images: listOf(
    fields({
      label: count,
      /** Name of the class, where the data set has names. */
      name: v.optional(text),
      /** Bytes [C, H, W] in base64. */
      pixels: text,
      /** For each branch (layer stack of a ViT, member of an ensemble) the weight of each patch, a mean over the heads. */
      branches: listOf(listOf(amount)),
    }),
  ),
})

/** How the CLS token of each branch attends to some images: the content of attention.json. */
export type AttentionSample = v.InferOutput<typeof ATTENTION>

/**
 * Computes how the CLS token of each branch attends to the first evaluation images of different classes.
 * @returns undefined for a model of a class of the user's own, and for large images
 */
export async function sampleAttention(
  model: Model,
  loader: BatchLoader,
  { mean, std, classNames }: Pick<DataInfo, 'mean' | 'std' | 'classNames'>,
): Promise<AttentionSample | undefined> {
  const { imageSize: size, patchSize, channels } = model.config
  if (![ParaFormer, ViT, Ensemble].some((own) => model.constructor === own) || size > MOST_PIXELS) return undefined
  loader.seek({ epoch: 0, step: 0 })
  const batch = await loader.next()
  const chosen = distinct(batch.labels, SAMPLES)
  const length = channels * size * size
  const images = new Float32Array(chosen.length * length)
  for (const [i, at] of chosen.entries()) images.set(batch.images.subarray(at * length, (at + 1) * length), i * length)
  const input = imageTensor(model, images, chosen.length)
  const weights = clsAttention(model, input) // [m, B, H, T + 1]
  const [m, B, H, N] = weights.shape as [number, number, number, number]
  const values = (await weights.data()) as Float32Array
  for (const t of [input, weights]) t.dispose()
  const patch = (branch: number, b: number, n: number) => {
    let sum = 0
    for (let h = 0; h < H; h++) sum += values[((branch * B + b) * H + h) * N + n]!
    return Number((sum / H).toPrecision(4))
  }
  return {
    format: FORMAT,
    channels,
    size,
    grid: size / patchSize,
    images: chosen.map((at, b) => ({
      label: batch.labels[at]!,
      name: classNames?.[batch.labels[at]!],
      pixels: base64(bytesOf(images.subarray(b * length, (b + 1) * length), { mean, std })),
      branches: Array.from({ length: m }, (_, branch) => Array.from({ length: N - 1 }, (_, t) => patch(branch, b, t + 1))),
    })),
  }
}

/** Writes attention.json. @throws FileError when it cannot be written */
export function writeAttention(path: string, sample: AttentionSample): Promise<void> {
  return files.write(path, `${JSON.stringify(sample)}\n`)
}

/** Indices of the first images of different classes; further images where there are too few classes. */
function distinct(labels: Int32Array, most: number): number[] {
  const first = new Map<number, number>()
  for (const [i, label] of labels.entries()) if (!first.has(label)) first.set(label, i)
  const others = [...labels.keys()].filter((i) => first.get(labels[i]!) !== i)
  return [...first.values(), ...others].slice(0, most).sort((a, b) => labels[a]! - labels[b]! || a - b)
}

/** Undoes the normalisation of an image [C, H, W]. */
function bytesOf(image: Float32Array, { mean, std }: { mean: number[]; std: number[] }): Uint8Array {
  const pixels = image.length / mean.length
  return Uint8Array.from(image, (value, i) => {
    const c = Math.floor(i / pixels)
    return Math.max(0, Math.min(255, Math.round(255 * (value * std[c]! + mean[c]!))))
  })
}

/** Bytes that are turned to text at once, since a call takes only so many arguments. */
const PIECE = 8192

/** Returns bytes in base64, on Node and in a browser. */
function base64(bytes: Uint8Array): string {
  let text = ''
  for (let i = 0; i < bytes.length; i += PIECE) text += String.fromCharCode(...bytes.subarray(i, i + PIECE))
  return btoa(text)
}
