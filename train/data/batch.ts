import { type AugmentOptions, augment } from './augment.ts'
import { normalizeInto, normalizeTables } from './normalize.ts'
import { CounterRandom, Purpose, shuffle } from './random.ts'
import { resizeBytes } from './resize.ts'
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

/** A mini-batch in host memory. */
export interface Batch {
  /** Normalised, [B, C, H, W]. */
  images: Float32Array<ArrayBuffer>
  /** [B] */
  labels: Int32Array<ArrayBuffer>
  epoch: number
  /** Index of the batch in its epoch. */
  step: number
}

/** Makes any batch of any epoch as a pure function of its spec and (epoch, step). */
export class BatchMaker {
  readonly #spec: BatchSpec
  readonly #tables: Float32Array[]
  #order: { epoch: number; indices: Int32Array } | undefined

  constructor(spec: BatchSpec) {
    this.#spec = spec
    this.#tables = normalizeTables(spec.mean, spec.std)
  }

  make(epoch: number, step: number): Batch {
    const { channels, size, batchSize, labels: allLabels } = this.#spec
    const chosen = this.#epochOrder(epoch).subarray(step * batchSize, (step + 1) * batchSize)
    const length = channels * size.height * size.width
    const images = new Float32Array(chosen.length * length)
    const labels = new Int32Array(chosen.length)
    for (let b = 0; b < chosen.length; b++) {
      const sample = chosen[b]!
      labels[b] = allLabels[sample]!
      normalizeInto(images.subarray(b * length, (b + 1) * length), this.#image(sample, epoch), this.#tables)
    }
    return { images, labels, epoch, step }
  }

  /** Resizes and augments the bytes of a sample. The randomness depends on (seed, sample, epoch) alone. */
  #image(sample: number, epoch: number): Uint8Array {
    const { images, channels, height, width, size, seed, augment: options } = this.#spec
    const length = channels * height * width
    let image = images.subarray(sample * length, (sample + 1) * length)
    if (size.height !== height || size.width !== width) {
      image = resizeBytes(image, channels, height, width, size.height, size.width)
    }
    if (!options) return image
    return augment(image, channels, size.height, size.width, options, new CounterRandom(seed, [sample, epoch, Purpose.augment]))
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
