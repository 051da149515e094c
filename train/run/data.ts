import { refusal } from '../../engine/base/checks.ts'
import { checkOptions, type OptionNames } from '../../engine/base/options.ts'
import { type Dataset, type LoadOptions, loadDataset } from '../data/datasets.ts'
import { isOwn } from '../data/names.ts'
import type { Settings } from '../settings.ts'
import type { Checkpoint } from './checkpoint.ts'
import { loadersOf, type RunData } from './loaders.ts'

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
  const { like, sameData } = options
  if (like !== undefined && !(typeof like === 'object' && like !== null && 'config' in like))
    throw refusal('openData', like, 'a checkpoint', 'like')
  return loadersOf(await loadDatasetOf(settings, options), settings, sameData ? like?.data : undefined)
}
