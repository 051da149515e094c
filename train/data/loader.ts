import { BatchWorker } from '#batchWorker'
import { checkList, checkObject, checkWhole, refusal } from '../../engine/base/checks.ts'
import { UserError } from '../../engine/base/errors.ts'
import { checkOptions, type OptionNames } from '../../engine/base/options.ts'
import type { AugmentOptions } from '../../kernels/augment/index.ts'
import { type Batch, BatchMaker, type BatchSpec, type Chosen, stepsPerEpoch } from './batch.ts'
import { checkSpec, whole } from './check.ts'
import type { Dataset } from './datasets.ts'
import type { Split } from './split.ts'

export type { Batch } from './batch.ts'
export { splitIndices } from './random.ts'

/** The place of the next batch in the data order. */
export interface LoaderState {
  epoch: number
  step: number
}

export interface LoaderOptions {
  batchSize: number
  /** Seed of order and augmentation; default 0. */
  seed?: number
  /** Whether each epoch has a random order of its own; default true. */
  shuffle?: boolean
  /** Whether an epoch's last, smaller batch is left out; default false. */
  dropLast?: boolean
  /** Samples that batches are made of (a validation split, a subset); default all. */
  indices?: Int32Array
  augment?: AugmentOptions
  /** The side, in pixels, to which images are resized; default their own size. */
  imageSize?: number
  /** Mean of each channel; default that of the data set. */
  mean?: number[]
  /** Standard deviation of each channel; default that of the data set. */
  std?: number[]
  /** Batches made ahead in a worker thread; default 3 with augmentation, resizing or large batches, else 0, which makes batches on demand. */
  prefetch?: number
  /** The first batch; default the first of epoch 0. */
  state?: LoaderState
}

const AUGMENTATIONS: OptionNames<AugmentOptions> = { cropPadding: true, flip: true, randAugment: true }

const MAX_PREFETCH = 64
/** Largest number of values of a batch that is made on demand: less than a millisecond's work, where a thread takes a tenth of a second to start. */
const MAX_INLINE = 2 ** 18

const OPTIONS: OptionNames<LoaderOptions> = {
  batchSize: true,
  seed: true,
  shuffle: true,
  dropLast: true,
  indices: true,
  augment: true,
  imageSize: true,
  mean: true,
  std: true,
  prefetch: true,
  state: true,
}

/**
 * An endless sequence of mini-batches over a split: after an epoch's last batch comes the next epoch's first. The batch at (epoch,
 * step) is a pure function of seed and data, so a run that saves `state` resumes exactly. `for await` ends with the epoch.
 */
export class BatchLoader {
  /** Batches in an epoch. */
  readonly stepsPerEpoch: number
  /** Number of samples in an epoch. */
  readonly count: number
  /** The spec that determines the batches. @internal */
  readonly spec: BatchSpec
  readonly #maker: BatchMaker
  readonly #prefetch: number
  #ahead = new Map<string, Promise<Batch>>()
  #worker: BatchWorker | undefined
  #state: LoaderState

  /**
   * @param dataset the data set of the split, or its sizes, mean and standard deviation
   * @throws UserError for an impossible batch size, subset, normalisation or state; ArgumentError for arguments of a wrong kind and an
   *   unknown option
   */
  constructor(dataset: Pick<Dataset, 'channels' | 'height' | 'width' | 'mean' | 'std'>, split: Split, options: LoaderOptions) {
    checkImages(dataset, split)
    checkOptions('BatchLoader', options ?? null, OPTIONS)
    if (options.augment) checkOptions('augment', options.augment, AUGMENTATIONS)
    const { channels, height, width } = dataset
    const size = options.imageSize === undefined ? { height, width } : { height: options.imageSize, width: options.imageSize }
    this.spec = {
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
    checkSpec(this.spec, split.count)
    this.count = this.spec.indices.length
    this.stepsPerEpoch = stepsPerEpoch(this.spec)
    if (this.stepsPerEpoch === 0) {
      throw new UserError(`batch size ${options.batchSize} leaves no batch of ${this.count} images; use a smaller one`)
    }
    this.#maker = new BatchMaker(this.spec)
    const resizes = size.height !== height || size.width !== width
    const values = options.batchSize * channels * size.height * size.width
    const costly = options.augment !== undefined || resizes || values > MAX_INLINE
    const prefetch = options.prefetch ?? (costly ? 3 : 0)
    whole('prefetch', prefetch, 0, MAX_PREFETCH)
    this.#prefetch = BatchWorker.isAvailable() ? prefetch : 0
    this.#state = { epoch: 0, step: 0 }
    if (options.state) this.seek(options.state)
  }

  /** The place of the next batch. A resumed run can `seek` to it. */
  get state(): LoaderState {
    return { ...this.#state }
  }

  /** Continues from a saved state. @throws UserError when this loader has no such batch */
  seek(state: LoaderState): void {
    const { epoch, step } = state
    const valid = Number.isSafeInteger(epoch) && Number.isSafeInteger(step) && epoch >= 0 && step >= 0
    // A state from another batch size or subset may lie after the epoch's end.
    if (!valid || step >= this.stepsPerEpoch) {
      throw new UserError(`no batch ${step} in epoch ${epoch} (${this.stepsPerEpoch} batches an epoch); use the same settings`)
    }
    this.#state = { epoch, step }
  }

  /**
   * Returns the next batch, and has the worker thread make those after it.
   * Rejects when the worker thread fails.
   */
  async next(): Promise<Batch> {
    const at = this.#state
    this.#state = this.#after(at)
    if (this.#prefetch === 0) return this.#maker.make(at.epoch, at.step)
    const ahead = new Map<string, Promise<Batch>>()
    let place = at
    for (let i = 0; i <= this.#prefetch; i++) {
      ahead.set(key(place), this.#ahead.get(key(place)) ?? this.#request(place))
      place = this.#after(place)
    }
    // This drops batches from before a seek.
    this.#ahead = ahead
    const batch = ahead.get(key(at))!
    ahead.delete(key(at))
    return batch
  }

  /** Says which images the next batch has, without making them. @internal */
  choose(): Chosen {
    const { epoch, step } = this.#state
    this.#state = this.#after(this.#state)
    return this.#maker.choose(epoch, step)
  }

  /** Waits until the worker thread has made everything that it was asked for. @internal */
  async idle(): Promise<void> {
    await Promise.all(this.#ahead.values())
  }

  /** Iterates over the remaining batches of the current epoch. */
  async *[Symbol.asyncIterator](): AsyncGenerator<Batch, void> {
    const { epoch } = this.#state
    while (this.#state.epoch === epoch) yield await this.next()
  }

  /** Ends the worker thread; a later `next()` starts a new one. */
  async close(): Promise<void> {
    const worker = this.#worker
    this.#ahead = new Map()
    this.#worker = undefined
    await worker?.close()
  }

  #request({ epoch, step }: LoaderState): Promise<Batch> {
    this.#worker ??= new BatchWorker(this.spec)
    const batch = this.#worker.make(epoch, step)
    // `next()` reports the error; a batch that is never asked for must not end the process.
    batch.catch(() => {})
    return batch
  }

  #after({ epoch, step }: LoaderState): LoaderState {
    return step + 1 < this.stepsPerEpoch ? { epoch, step: step + 1 } : { epoch: epoch + 1, step: 0 }
  }
}

function key({ epoch, step }: LoaderState): string {
  return `${epoch}:${step}`
}

/** @throws ArgumentError unless `dataset` has sizes, mean and standard deviation, and `split` has images and labels */
function checkImages(dataset: unknown, split: unknown): void {
  checkObject('BatchLoader', dataset, 'a data set', 'dataset')
  for (const size of ['channels', 'height', 'width']) checkWhole('BatchLoader', dataset[size], `dataset.${size}`)
  for (const list of ['mean', 'std']) checkList('BatchLoader', dataset[list], 'a list of numbers', `dataset.${list}`)
  checkObject('BatchLoader', split, '{ images, labels, count }', 'split')
  const { images, labels, count } = split
  if (!(images instanceof Uint8Array)) throw refusal('BatchLoader', images, 'a Uint8Array', 'split.images')
  if (!(labels instanceof Uint8Array || labels instanceof Uint16Array))
    throw refusal('BatchLoader', labels, 'a Uint8Array or Uint16Array', 'split.labels')
  checkWhole('BatchLoader', count, 'split.count', 0)
}
