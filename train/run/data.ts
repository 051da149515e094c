import { refusal } from '../../engine/base/checks.ts'
import { UserError } from '../../engine/base/errors.ts'
import { checkOptions, type OptionNames } from '../../engine/base/options.ts'
import { type Dataset, type LoadOptions, loadDataset } from '../data/datasets.ts'
import { BatchLoader, splitIndices } from '../data/loader.ts'
import { isOwn } from '../data/names.ts'
import { augmentOf, type Settings } from '../settings.ts'
import type { Checkpoint } from './checkpoint.ts'
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

/** What a run knows of its data from elsewhere, and who hears of its progress. */
export interface OpenOptions extends Pick<LoadOptions, 'onProgress'> {
  /** The model that goes on, or that a run begins with. */
  like?: Pick<Checkpoint, 'config' | 'data'> | undefined
  /** Whether the data is what that model was trained on, whose size, division and normalisation stay as they were. */
  sameData?: boolean | undefined
}

const OPTIONS: OptionNames<OpenOptions> = { like: true, sameData: true, onProgress: true }

/**
 * Loads the data set of settings.
 * @param options.like a model that takes the images, which get its number of channels where the settings leave it open
 * @param options.sameData whether they get its size too, and are divided into splits as they were for it
 * @throws UserError in one line
 */
export function loadDatasetOf(settings: Settings, options: OpenOptions = {}): Promise<Dataset> {
  const { dataset, dataDir: dir, download, patchSize: multipleOf, imageSize, channels, seed, testShare } = settings
  const { recordShape, skipBroken } = settings
  const { like, sameData, onProgress } = options
  if (!isOwn(dataset)) return loadDataset(dataset, { dir, download })
  const kept = sameData && like?.data?.dataset === dataset ? like.data.own : {}
  return loadDataset(dataset, {
    ...{ dir, download, multipleOf, seed, testShare, recordShape, skipBroken, onProgress, ...kept },
    imageSize: imageSize ?? (sameData ? like?.config.imageSize : undefined),
    channels: dataset === 'images' ? (channels ?? like?.config.channels) : undefined,
  })
}

/**
 * Loads the data set of a run and makes its loaders, which the caller must `close()` at the end.
 * @param settings complete (see `checkSettings`)
 * @throws UserError in one line; ArgumentError unless `settings` is an object, and for unknown options
 */
export async function openData(settings: Settings, options: OpenOptions = {}): Promise<RunData> {
  if (typeof settings !== 'object' || settings === null) throw refusal('openData', settings, 'what checkSettings() gives')
  checkOptions('openData', options, OPTIONS)
  const { like } = options
  if (like !== undefined && !(typeof like === 'object' && like !== null && 'config' in like))
    throw refusal('openData', like, 'a checkpoint', 'like')
  const { seed, imageSize, batchSize, validation, trainImages, testImages } = settings
  const dataset = await loadDatasetOf(settings, options)
  const parts = trainingParts(dataset, validation, seed)
  const kept = options.sameData ? options.like?.data : undefined
  if (kept) checkSameClasses(dataset, kept)
  const { mean, std } = kept ?? dataset
  const fitted = { mean, std, ...(imageSize !== undefined && { imageSize }) }
  const augment = augmentOf(settings)
  const train = new BatchLoader(dataset, dataset.train, {
    batchSize,
    seed,
    dropLast: parts.train.length > batchSize,
    indices: parts.train.slice(0, trainImages),
    prefetch: 3,
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
export function trainingParts({ train, validation }: Pick<Dataset, 'train' | 'validation'>, share: number, seed: number) {
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
  return new BatchLoader(dataset, dataset[split], { batchSize, shuffle: false, indices, prefetch: 2, ...options })
}

/** Returns the indices 0, 1, … of the first `limit` of `count` images. */
export function first(count: number, limit = count): Int32Array {
  return Int32Array.from({ length: Math.min(count, limit) }, (_, i) => i)
}
