import type { Dataset } from '../data/dataset.ts'
import { loadDataset } from '../data/datasets.ts'
import type { Settings } from '../settings.ts'
import type { RunData } from './loaders.ts'
import { loadDatasetBy, type OpenOptions, openDataBy } from './openData.ts'

/**
 * Loads the data set of settings.
 * @param options.like a model that takes the images, which get its number of channels where the settings leave it open
 * @param options.sameData whether they get its size too, and are divided into splits as they were for it
 * @throws UserError in one line
 */
export function loadDatasetOf(settings: Settings, options: OpenOptions = {}): Promise<Dataset> {
  return loadDatasetBy(loadDataset, settings, options)
}

/**
 * Loads the data set of a run and makes its loaders, which the caller must `close()` at the end.
 * @param settings complete (see `checkSettings`)
 * @throws UserError in one line; ArgumentError unless `settings` is an object, and for unknown options
 */
export async function openData(settings: Settings, options: OpenOptions = {}): Promise<RunData> {
  return openDataBy(loadDataset, settings, options)
}
