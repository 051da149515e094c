import { refusal } from '../../engine/base/checks.ts'
import { checkOptions, type OptionNames } from '../../engine/base/options.ts'
import type { Dataset } from '../data/dataset.ts'
import type { LoadOptions } from '../data/datasets.ts'
import { type DatasetKind, isOwn } from '../data/names.ts'
import type { Settings } from '../settings.ts'
import type { Checkpoint } from './checkpoint.ts'
import { loadersOf, type RunData } from './loaders.ts'

/** Options of a run that already knows its data, from a checkpoint or from before, and a listener to the progress of loading. */
export interface OpenOptions extends Pick<LoadOptions, 'onProgress'> {
  /** The model that goes on, or that a run begins with. */
  like?: Pick<Checkpoint, 'config' | 'data'> | undefined
  /** Whether the data is what that model was trained on, whose size, division and normalisation stay as they were. */
  sameData?: boolean | undefined
}

const OPTIONS: OptionNames<OpenOptions> = { like: true, sameData: true, onProgress: true }

/** Loads a data set by its name, on Node or in a browser. */
export type LoadDataset = (name: DatasetKind, options?: LoadOptions) => Promise<Dataset>

/** Loads the data set of settings, by `load`. See `loadDatasetOf`. */
export function loadDatasetBy(load: LoadDataset, settings: Settings, options: OpenOptions): Promise<Dataset> {
  const { dataset, dataDir: dir, download, patchSize: multipleOf, imageSize, channels, seed, testShare } = settings
  const { recordShape, skipBroken } = settings
  const { like, sameData, onProgress } = options
  if (!isOwn(dataset)) return load(dataset, { dir, download })
  const kept = sameData && like?.data?.dataset === dataset ? like.data.own : {}
  return load(dataset, {
    ...{ dir, download, multipleOf, seed, testShare, recordShape, skipBroken, onProgress, ...kept },
    imageSize: imageSize ?? (sameData ? like?.config.imageSize : undefined),
    channels: dataset === 'images' ? (channels ?? like?.config.channels) : undefined,
  })
}

/** Loads the data set of a run by `load`, and makes its loaders. See `openData`. */
export async function openDataBy(load: LoadDataset, settings: Settings, options: OpenOptions): Promise<RunData> {
  if (typeof settings !== 'object' || settings === null) throw refusal('openData', settings, 'what checkSettings() gives')
  checkOptions('openData', options, OPTIONS)
  const { like, sameData } = options
  if (like !== undefined && !(typeof like === 'object' && like !== null && 'config' in like))
    throw refusal('openData', like, 'a checkpoint', 'like')
  return loadersOf(await loadDatasetBy(load, settings, options), settings, sameData ? like?.data : undefined)
}
