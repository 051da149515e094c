import { type Device, run, type Tensor, tensor, UserError } from '../../engine/index.ts'
import { empty } from '../../engine/tensor/tensor.ts'
import {
  type AugmentSpec,
  augment,
  augmentProblem,
  augmentTables,
  columnWords,
  countWords,
  filterTable,
  imageWords,
  type Places,
  pixelWords,
  resizeImages,
  resizeImagesProblem,
  resizes,
  scratchWords,
  takesImages,
} from '../../kernels/augment/index.ts'
import type { Model } from '../../model/index.ts'
import { augmentSpecOf, type Chosen } from '../data/batch.ts'
import type { BatchLoader } from '../data/loader.ts'
import { normalizeTables } from '../data/normalize.ts'
import { HostImages, type ImageSource } from './imageSource.ts'
import type { RunData } from './loaders.ts'
import type { TrainerParts } from './trainerParts.ts'

/** Words of a row before an image: sample and epoch. */
const HEAD = 2

/** Most bytes of a data set that live on the device, so that models have room beside it. */
const MAX_RESIDENT = 2 ** 30

interface SourceOptions {
  beside?: DeviceImages | undefined
  resident?: boolean
}

/**
 * Images that the device makes, inside of captured steps, by the kernels `resizeImages` and `augment`. The bytes of the data set live on the
 * device, and a row of sample and epoch crosses for each image; of a data set that a binding does not hold, the row carries the image's bytes
 * too, which are written while the device computes the step before.
 */
export class DeviceImages implements ImageSource {
  readonly #device: Device
  readonly #loader: BatchLoader
  readonly #spec: AugmentSpec
  readonly #tables: Tensor
  /** Of `resizeImages`, where stored images have another size. */
  readonly #filters: Tensor | undefined
  /** The data set, int32 words [count, words of an image]. */
  readonly #stored: Tensor | undefined
  /** The rows of the last batch. A write copies them at once, and new memory would cost a page fault every 4 KiB. */
  #rows = new Int32Array(0)

  /**
   * Copies the bytes of a loader's split to a device.
   * @param options.beside a source of the same device, whose copy serves where it is of the same split
   * @param options.resident whether the data set may live on the device; default true
   * @returns undefined where the host must make the images: they are very large, or a batch does not fit a binding
   */
  static of(device: Device, loader: BatchLoader, options: SourceOptions = {}): DeviceImages | undefined {
    const { spec } = loader
    const { channels, height, width, size, batchSize, indices } = spec
    const batch = Math.min(batchSize, indices.length)
    const augments = augmentSpecOf(spec)
    const problem = augmentProblem(augments, { count: 1, start: 0, stride: 0, byRow: 0, rowWords: 0 })
    const words = [
      channels * size.height * size.width,
      HEAD + imageWords(channels, height, width),
      pixelWords(channels, Math.max(height, size.height), size.width),
      scratchWords(problem),
      countWords(problem),
    ]
    if (!takesImages(augments) || 4 * batch * Math.max(...words) > device.bindingBytes) return undefined
    return new DeviceImages(device, loader, options)
  }

  private constructor(device: Device, loader: BatchLoader, { beside, resident = true }: SourceOptions) {
    const { spec } = loader
    this.#device = device
    this.#loader = loader
    this.#spec = augmentSpecOf(spec)
    this.#tables = tensor(augmentTables(this.#spec, normalizeTables(spec.mean, spec.std)), { device })
    if (resizes(this.#spec)) this.#filters = tensor(filterTable(this.#spec), { device })
    const { channels, height, width, images } = spec
    const words = (images.length / (channels * height * width)) * imageWords(channels, height, width)
    if (!resident) return
    if (beside !== undefined && beside.#stored !== undefined && beside.#loader.spec.images === images)
      this.#stored = beside.#stored
    else if (4 * words <= Math.min(device.bindingBytes, MAX_RESIDENT)) {
      const bytes = new Uint8Array(4 * words)
      padRows(images, width, bytes)
      this.#stored = tensor(new Int32Array(bytes.buffer), { device })
    }
  }

  /** Whether the data set lives on the device. */
  get resident(): boolean {
    return this.#stored !== undefined
  }

  async next(): Promise<Chosen> {
    return this.#loader.choose()
  }

  input({ samples, epoch }: Chosen, from: number, to: number): Tensor {
    const rowWords = this.#rowWords()
    const words = (to - from) * rowWords
    if (this.#rows.length < words) this.#rows = new Int32Array(words)
    const rows = this.#rows.subarray(0, words)
    const bytes = new Uint8Array(rows.buffer)
    const { images, channels, height, width } = this.#loader.spec
    const length = channels * height * width
    for (let b = 0; b < to - from; b++) {
      const sample = samples[from + b]!
      const at = b * rowWords
      rows[at] = sample
      rows[at + 1] = epoch
      if (this.#stored) continue
      padRows(images.subarray(sample * length, (sample + 1) * length), width, bytes.subarray(4 * (at + HEAD)))
    }
    return tensor(rows, { shape: [to - from, rowWords], device: this.#device })
  }

  images(input: Tensor): Tensor {
    const [count, rowWords] = input.shape as [number, number]
    const { channels, sourceHeight, sourceWidth, height, width } = this.#spec
    const stored = { start: 0, stride: imageWords(channels, sourceHeight, sourceWidth), byRow: 0 } as const
    const places = this.#stored ? stored : ({ start: HEAD, stride: rowWords, byRow: 1 } as const)
    const source = this.#resized(input, { count, rowWords, ...places })
    const problem = augmentProblem(this.#spec, { count, rowWords, ...places })
    const scratch = empty([scratchWords(problem)], 'int32', this.#device)
    const counts = empty([countWords(problem)], 'int32', this.#device)
    const images = empty([count, channels, height, width], 'float32', this.#device)
    run(augment, problem, [source ?? this.#stored ?? input, input, this.#tables, scratch, counts, images])
    for (const t of [source, scratch, counts]) t?.dispose()
    return images
  }

  /** The pixels of a batch whose stored images have another size. */
  #resized(input: Tensor, places: Places): Tensor | undefined {
    if (this.#filters === undefined) return undefined
    const problem = resizeImagesProblem(this.#spec, places)
    const { count, channels, height, width } = problem
    const columns = empty([columnWords(problem)], 'int32', this.#device)
    const pixels = empty([count * pixelWords(channels, height, width)], 'int32', this.#device)
    run(resizeImages, problem, [this.#stored ?? input, input, this.#filters, columns, pixels])
    columns.dispose()
    return pixels
  }

  /** Words that cross for an image. */
  #rowWords(): number {
    const { channels, sourceHeight, sourceWidth } = this.#spec
    return HEAD + (this.#stored ? 0 : imageWords(channels, sourceHeight, sourceWidth))
  }
}

/** Copies rows of bytes, each padded with zeros to whole words. */
function padRows(bytes: Uint8Array, width: number, out: Uint8Array): void {
  const padded = 4 * Math.ceil(width / 4)
  if (padded === width) {
    out.set(bytes)
    return
  }
  for (let from = 0, to = 0; from < bytes.length; from += width, to += padded) out.set(bytes.subarray(from, from + width), to)
}

const TOO_MUCH = 'the device does not take batches of so large images or of so many operations of RandAugment'

/** A line that says which batches of a run the host makes, and why, where nobody asked for that; undefined where it makes none. */
export function hostLine(parts: Pick<TrainerParts, 'settings' | 'distributed' | 'replicas' | 'sources'>) {
  const { settings, distributed, replicas, sources } = parts
  if (settings.data === 'host') return undefined
  if (distributed || replicas) return 'the host makes the batches, as for several devices'
  if (sources?.train instanceof HostImages) return `the host makes the batches: ${TOO_MUCH}`
  if (sources?.evaluation instanceof HostImages) return `the host makes the batches of evaluation: ${TOO_MUCH}`
  return undefined
}

/**
 * Makes the sources of a run's images, on its device where the kernel takes them, else on the host.
 * @param asked whether the user asked for the device
 * @throws UserError where the user asked and the kernel does not take the images
 */
export function deviceSources(model: Model, { train, evaluation }: Pick<RunData, 'train' | 'evaluation'>, asked = false) {
  const made = DeviceImages.of(model.device, train)
  if (asked && !made) throw new UserError(`--data device: ${TOO_MUCH}; use --data host or a smaller --batch-size`)
  return {
    train: made ?? new HostImages(model, train),
    evaluation: DeviceImages.of(model.device, evaluation, { beside: made }) ?? new HostImages(model, evaluation),
  }
}
