import type { Dataset } from '../data/datasets.ts'
import { BatchLoader, splitIndices } from '../data/loader.ts'
import { augmentOf, type Settings } from '../settings.ts'
import type { DataInfo } from './metadata.ts'

/** The data of a run: batches to train on, and batches to evaluate on after each epoch. */
export interface RunData {
  dataset: Dataset
  info: DataInfo
  train: BatchLoader
  evaluation: BatchLoader
  /** The split that `evaluation` reads. */
  split: 'validation' | 'test'
}

/** Largest number of images in an evaluation batch. */
const EVALUATION_BATCH = 250
/** Largest number of bytes of an evaluation batch, which has fewer images if they are large. */
const EVALUATION_BYTES = 2 ** 28

/** Returns how many of `count` images [channels, imageSize, imageSize] are evaluated at once. */
export function evaluationBatch(count: number, channels: number, imageSize: number): number {
  return Math.max(1, Math.min(EVALUATION_BATCH, count, Math.floor(EVALUATION_BYTES / (4 * channels * imageSize ** 2))))
}

/**
 * Makes the loaders of a run over a data set; `close()` those at the end.
 * @param settings complete (see `checkSettings`)
 */
export function loadersOf(dataset: Dataset, settings: Settings): RunData {
  const { seed, imageSize, batchSize, validation, trainImages, testImages } = settings
  const parts = splitIndices(dataset.train.count, validation, seed)
  const size = imageSize === undefined ? {} : { imageSize }
  const augment = augmentOf(settings)
  const train = new BatchLoader(dataset, dataset.train, {
    batchSize,
    seed,
    dropLast: parts.train.length > batchSize,
    indices: parts.train.slice(0, trainImages),
    prefetch: 3,
    ...size,
    ...(augment && { augment }),
  })
  const evaluation =
    validation > 0
      ? evaluationLoader(dataset, 'train', parts.validation.slice(0, testImages), size)
      : evaluationLoader(dataset, 'test', first(dataset.test.count, testImages), size)
  const { name, mean, std, classNames } = dataset
  return {
    dataset,
    info: { dataset: name, mean, std, classNames },
    train,
    evaluation,
    split: validation > 0 ? 'validation' : 'test',
  }
}

/** Makes a loader of some images of a split in the order of `indices`. */
export function evaluationLoader(
  dataset: Dataset,
  split: 'train' | 'test',
  indices: Int32Array,
  options: { imageSize?: number; mean?: number[]; std?: number[] },
): BatchLoader {
  const batchSize = evaluationBatch(indices.length, dataset.channels, options.imageSize ?? dataset.height)
  return new BatchLoader(dataset, dataset[split], { batchSize, shuffle: false, indices, prefetch: 2, ...options })
}

/** Returns the indices 0, 1, … of the first `limit` of `count` images. */
export function first(count: number, limit = count): Int32Array {
  return Int32Array.from({ length: Math.min(count, limit) }, (_, i) => i)
}
