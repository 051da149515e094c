import { UserError } from '../../engine/errors.ts'
import type { AugmentOptions } from './augment.ts'
import { type Batch, BatchMaker, type BatchSpec, stepsPerEpoch } from './batch.ts'
import type { Dataset } from './datasets.ts'
import type { BatchWorker } from './prefetch.ts'
import { MAX_MAGNITUDE } from './randaugment.ts'
import type { Split } from './split.ts'

export type { Batch } from './batch.ts'
export { splitIndices } from './random.ts'

/** Where in the data order a run stands: the next batch to be handed out. */
export interface LoaderState {
  epoch: number
  step: number
}

export interface LoaderOptions {
  batchSize: number
  /** Decides order and augmentation; default 0. */
  seed?: number
  /** A new order each epoch; default true. */
  shuffle?: boolean
  /** Leave out an epoch's last, smaller batch; default false. */
  dropLast?: boolean
  /** Samples that take part (a validation split, a subset); default all. */
  indices?: Int32Array
  augment?: AugmentOptions
  /** Resize to this many pixels a side. */
  imageSize?: number
  /** Override the data set's own normalisation. */
  mean?: number[]
  std?: number[]
  /** Batches made ahead in a worker thread; default 3 with augmentation or resizing, else 0 (made when asked for). */
  prefetch?: number
  /** Where to start; default the first batch of epoch 0. */
  state?: LoaderState
}

/**
 * Mini-batches over a split, without end: after an epoch's last batch comes the next epoch's first. The batch at (epoch,
 * step) is a pure function of seed and data, so a run that saves `state` resumes exactly.
 */
export class BatchLoader {
  /** Batches in an epoch. */
  readonly stepsPerEpoch: number
  /** Samples that take part. */
  readonly count: number
  readonly #spec: BatchSpec
  readonly #maker: BatchMaker
  readonly #prefetch: number
  readonly #ahead = new Map<string, Promise<Batch>>()
  #worker: BatchWorker | undefined
  #state: LoaderState

  /** @throws UserError for a batch size, subset, normalisation or state that cannot be */
  constructor(dataset: Pick<Dataset, 'channels' | 'height' | 'width' | 'mean' | 'std'>, split: Split, options: LoaderOptions) {
    const { channels, height, width } = dataset
    const size = options.imageSize === undefined ? { height, width } : { height: options.imageSize, width: options.imageSize }
    this.#spec = {
      images: split.images,
      labels: split.labels,
      indices: options.indices ?? Int32Array.from({ length: split.count }, (_, i) => i),
      channels,
      height,
      width,
      size,
      mean: options.mean ?? dataset.mean,
      std: options.std ?? dataset.std,
      batchSize: options.batchSize,
      seed: options.seed ?? 0,
      shuffle: options.shuffle ?? true,
      dropLast: options.dropLast ?? false,
      augment: options.augment,
    }
    checkSpec(this.#spec, split.count)
    this.count = this.#spec.indices.length
    this.stepsPerEpoch = stepsPerEpoch(this.#spec)
    if (this.stepsPerEpoch === 0) {
      throw new UserError(`batch size ${options.batchSize} leaves no batch of ${this.count} images; use a smaller one`)
    }
    this.#maker = new BatchMaker(this.#spec)
    const costly = options.augment !== undefined || size.height !== height || size.width !== width
    this.#prefetch = options.prefetch ?? (costly ? 3 : 0)
    this.#state = { epoch: 0, step: 0 }
    if (options.state) this.seek(options.state)
  }

  /** The next batch's place; save it, and `seek` to it in another process. */
  get state(): LoaderState {
    return { ...this.#state }
  }

  /** Continues from a saved state. UserError when this loader has no such batch. */
  seek(state: LoaderState): void {
    const { epoch, step } = state
    const whole = Number.isSafeInteger(epoch) && Number.isSafeInteger(step) && epoch >= 0 && step >= 0
    // A state taken under another batch size or subset can point past the epoch's end.
    if (!whole || step >= this.stepsPerEpoch) {
      throw new UserError(`no batch ${step} in epoch ${epoch} (${this.stepsPerEpoch} batches an epoch); use the same settings`)
    }
    this.#state = { epoch, step }
  }

  /** The next batch: images [B, C, H, W] normalised float32, labels [B] int32. */
  async next(): Promise<Batch> {
    const at = this.#state
    this.#state = this.#after(at)
    if (this.#prefetch <= 0) return this.#maker.make(at.epoch, at.step)
    const current = this.#ahead.get(key(at)) ?? this.#request(at)
    this.#ahead.clear()
    let later = this.#state
    const queued: [string, Promise<Batch>][] = []
    for (let i = 0; i < this.#prefetch; i++) {
      queued.push([key(later), this.#requested.get(key(later)) ?? this.#request(later)])
      later = this.#after(later)
    }
    for (const [name, promise] of queued) this.#ahead.set(name, promise)
    return current
  }

  /** What is left of the current epoch, batch by batch (a whole one for a new loader). */
  async *[Symbol.asyncIterator](): AsyncGenerator<Batch, void> {
    const { epoch } = this.#state
    while (this.#state.epoch === epoch) yield await this.next()
  }

  /** Ends the worker thread; `next()` would start a new one. */
  async close(): Promise<void> {
    this.#ahead.clear()
    await this.#worker?.close()
    this.#worker = undefined
  }
}
