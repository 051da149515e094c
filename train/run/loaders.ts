import { UserError } from '../../engine/base/errors.ts'
import type { Dataset } from '../data/dataset.ts'
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
 * Makes the loaders of a run over a data set, which the caller must `close()` at the end.
 * @param settings complete (see `checkSettings`)
 * @param kept the data info of the model that goes on, whose normalisation and classes stay as they were
 * @throws UserError in one line
 */
export function loadersOf(dataset: Dataset, settings: Settings, kept?: DataInfo): RunData {
  const { seed, imageSize, batchSize, validation, trainImages, testImages } = settings
  const parts = trainingParts(dataset, validation, seed)
  if (kept) checkSameClasses(dataset, kept)
  const { mean, std } = kept ?? dataset
  const fitted = { mean, std, ...(imageSize !== undefined && { imageSize }) }
  const augment = augmentOf(settings)
  const train = new BatchLoader(dataset, dataset.train, {
    batchSize,
    seed,
    dropLast: parts.train.length > batchSize,
    indices: parts.train.slice(0, trainImages),
    ...fitted,
    ...(augment && { augment }),
  })
  const holdsOut = parts.validation.length > 0 || validation > 0
  const evaluation = holdsOut
    ? evaluationLoader(dataset, 'train', parts.validation.slice(0, testImages), fitted)
    : evaluationLoader(dataset, 'test', first(dataset.test.count, testImages), fitted)
  const { name, classNames, own } = dataset
  return {
    dataset,
    info: { dataset: name, mean, std, classNames, ...(own && { own }) },
    train,
    evaluation,
    split: holdsOut ? 'validation' : 'test',
  }
}

/**
 * Divides the training images of a data set.
 * @param share the share that is held out for validation; a data set with validation images of its own takes none
 * @returns the indices of the parts
 * @throws UserError for a share where the data set has validation images
 */
export function trainingParts(
  { train, validation }: Pick<Dataset, 'train' | 'validation'>,
  share: number,
  seed: number,
): { train: Int32Array; validation: Int32Array } {
  if (!validation) return splitIndices(train.count, share, seed)
  if (share > 0)
    throw new UserError(`--validation ${share}: the data set has a folder of validation images; leave out one of them`)
  return { train: first(train.count - validation.length), validation }
}

/** @throws UserError when the classes of a run's own data set are not those that it began with */
function checkSameClasses({ classNames: now, own }: Dataset, { classNames: then }: DataInfo): void {
  if (!own || !now || !then) return
  const [added, gone] = [now.find((name) => !then.includes(name)), then.find((name) => !now.includes(name))]
  if (added === undefined && gone === undefined) return
  const what = added === undefined ? `lacks the class ${gone}, which it had` : `has a class ${added}, which it had not`
  throw new UserError(`--data-dir: the data set ${what} when the run began; use the data that it began with`)
}

/** Makes a loader of some images of a split in the order of `indices`. */
export function evaluationLoader(
  dataset: Dataset,
  split: 'train' | 'test',
  indices: Int32Array,
  options: { imageSize?: number; mean?: number[]; std?: number[] },
): BatchLoader {
  const batchSize = evaluationBatch(indices.length, dataset.channels, options.imageSize ?? dataset.height)
  return new BatchLoader(dataset, dataset[split], { batchSize, shuffle: false, indices, ...options })
}

/** Returns the indices 0, 1, … of the first `limit` of `count` images. */
export function first(count: number, limit = count): Int32Array {
  return Int32Array.from({ length: Math.min(count, limit) }, (_, i) => i)
}

/** Makes a loader of the test images of a run. */
export function testLoader({ dataset }: RunData, { imageSize, testImages }: Settings) {
  const size = imageSize === undefined ? {} : { imageSize }
  return evaluationLoader(dataset, 'test', first(dataset.test.count, testImages), size)
}
