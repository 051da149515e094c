import { type AugmentOptions, augment } from './augment.ts'
import { normalizeInto, normalizeTables } from './normalize.ts'
import { CounterRandom, Purpose, shuffle } from './random.ts'
import { resizeBytes } from './resize.ts'

/** All that decides a batch, in plain data so that a worker thread can be given it. */
export interface BatchSpec {
  /** uint8 [count, channels, height, width]; on shared memory a worker reads it without a copy. */
  images: Uint8Array
  /** uint8 [count] */
  labels: Uint8Array
  /** Samples of the split that take part. */
  indices: Int32Array
  channels: number
  height: number
  width: number
  /** The images handed out; resized when this differs from the stored ones. */
  size: { height: number; width: number }
  mean: number[]
  std: number[]
  batchSize: number
  seed: number
  shuffle: boolean
  dropLast: boolean
  augment: AugmentOptions | undefined
}

/** One mini-batch: images [B, C, H, W] normalised, labels [B]; `epoch` and `step` say where in the order it lies. */
export interface Batch {
  images: Float32Array<ArrayBuffer>
  labels: Int32Array<ArrayBuffer>
  epoch: number
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

  /** The sample's stored bytes, resized and augmented; its randomness depends on (seed, sample, epoch) alone. */
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

/** Number of batches of one epoch. */
export function stepsPerEpoch(spec: Pick<BatchSpec, 'indices' | 'batchSize' | 'dropLast'>): number {
  const whole = spec.indices.length / spec.batchSize
  return spec.dropLast ? Math.floor(whole) : Math.ceil(whole)
}
