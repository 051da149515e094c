import { hostImage } from '../../kernels/augment/hostImage.ts'
import type { AugmentOptions, AugmentSpec } from '../../kernels/augment/index.ts'
import { CounterRandom } from '../../kernels/random/counterRandom.ts'
import { normalizeInto, normalizeTables } from './normalize.ts'
import { Purpose, shuffle } from './random.ts'
import type { Labels } from './split.ts'

/** Everything that determines the batches, as plain data for a worker thread. */
export interface BatchSpec {
  /** uint8 [count, channels, height, width]; a worker thread reads shared memory without a copy. */
  images: Uint8Array
  /** [count] */
  labels: Labels
  /** Samples of the split that batches are made of. */
  indices: Int32Array
  channels: number
  height: number
  width: number
  /** Size of the images in batches, to which stored images are resized. */
  size: { height: number; width: number }
  mean: number[]
  std: number[]
  batchSize: number
  seed: number
  shuffle: boolean
  dropLast: boolean
  augment: AugmentOptions | undefined
}

/** Says which images a mini-batch has; all that its images are made of besides the data. */
export interface Chosen {
  /** Indices of the split, [B]. */
  samples: Int32Array<ArrayBuffer>
  /** [B] */
  labels: Int32Array<ArrayBuffer>
  epoch: number
  /** Index of the batch in its epoch. */
  step: number
}

/** A mini-batch in host memory. */
export interface Batch extends Chosen {
  /** Normalised, [B, C, H, W]. */
  images: Float32Array<ArrayBuffer>
}

/** The rules by which the images of a spec are made, on the host and on devices alike. */
export function augmentSpecOf({ channels, height, width, size, seed, augment }: BatchSpec): AugmentSpec {
  const source = { sourceHeight: height, sourceWidth: width }
  return { channels, ...source, ...size, seed, purpose: Purpose.augment, options: augment ?? {} }
}

/** Makes any batch of any epoch as a pure function of its spec and (epoch, step). */
export class BatchMaker {
  readonly #spec: BatchSpec
  readonly #augment: AugmentSpec
  readonly #tables: Float32Array[]
  #order: { epoch: number; indices: Int32Array } | undefined

  constructor(spec: BatchSpec) {
    this.#spec = spec
    this.#augment = augmentSpecOf(spec)
    this.#tables = normalizeTables(spec.mean, spec.std)
  }

  /** Says which images the batch at (epoch, step) has. */
  choose(epoch: number, step: number): Chosen {
    const { batchSize, labels } = this.#spec
    const samples = new Int32Array(this.#epochOrder(epoch).subarray(step * batchSize, (step + 1) * batchSize))
    return { samples, labels: Int32Array.from(samples, (sample) => labels[sample]!), epoch, step }
  }

  make(epoch: number, step: number): Batch {
    const { channels, size } = this.#spec
    const chosen = this.choose(epoch, step)
    const length = channels * size.height * size.width
    const images = new Float32Array(chosen.samples.length * length)
    for (const [b, sample] of chosen.samples.entries()) {
      normalizeInto(images.subarray(b * length, (b + 1) * length), this.#image(sample, epoch), this.#tables)
    }
    return { ...chosen, images }
  }

  /** Resizes and augments the bytes of a sample. The randomness depends on (seed, sample, epoch) alone. */
  #image(sample: number, epoch: number): Uint8Array {
    const { images, channels, height, width, seed } = this.#spec
    const length = channels * height * width
    const random = new CounterRandom(seed, [sample, epoch, Purpose.augment])
    return hostImage(images.subarray(sample * length, (sample + 1) * length), this.#augment, random)
  }

  #epochOrder(epoch: number): Int32Array {
    const { indices, seed, shuffle: shuffled } = this.#spec
    if (!shuffled) return indices
    if (this.#order?.epoch !== epoch) {
      this.#order = { epoch, indices: shuffle(indices.slice(), new CounterRandom(seed, [0, epoch, Purpose.shuffle])) }
    }
    return this.#order.indices
  }
}

/** Returns the number of batches in an epoch. */
export function stepsPerEpoch(spec: Pick<BatchSpec, 'indices' | 'batchSize' | 'dropLast'>): number {
  const whole = spec.indices.length / spec.batchSize
  return spec.dropLast ? Math.floor(whole) : Math.ceil(whole)
}
