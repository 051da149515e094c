import { refusal } from '../../engine/base/checks.ts'
import { loadDataset } from '../data/datasets.ts'
import type { Settings } from '../settings.ts'
import { loadersOf, type RunData } from './loaders.ts'

/**
 * Loads the data set of a run and makes its loaders, which the caller must `close()` at the end.
 * @param settings complete (see `checkSettings`)
 * @throws UserError in one line; ArgumentError unless `settings` is an object
 */
export async function openData(settings: Settings): Promise<RunData> {
  if (typeof settings !== 'object' || settings === null) throw refusal('openData', settings, 'what checkSettings() gives')
  return loadersOf(await loadDataset(settings.dataset, { dir: settings.dataDir, download: settings.download }), settings)
}
