import { refusal } from '../../engine/base/checks.ts'
import { UserError } from '../../engine/base/errors.ts'
import { loadPageDataset } from '../data/pageDatasets.ts'
import { loadersOf } from '../run/loaders.ts'
import type { Host } from './types.ts'

export const loadDataset: Host['loadDataset'] = loadPageDataset

export const openData: Host['openData'] = async (settings) => {
  if (typeof settings !== 'object' || settings === null) throw refusal('openData', settings, 'what checkSettings() gives')
  return loadersOf(await loadPageDataset(settings.dataset, { dir: settings.dataDir }), settings)
}

export const expand: Host['expand'] = async () => {
  throw new UserError('an expansion trains on batches that threads of Node make, which a page in a browser has not')
}
