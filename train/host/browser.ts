import { UserError } from '../../engine/base/errors.ts'
import { loadPageDataset } from '../data/pageDatasets.ts'
import { openDataBy } from '../run/openData.ts'
import type { Host } from './types.ts'

export const loadDataset: Host['loadDataset'] = loadPageDataset

export const openData: Host['openData'] = async (settings, options = {}) => openDataBy(loadPageDataset, settings, options)

export const expand: Host['expand'] = async () => {
  throw new UserError('an expansion trains on batches that threads of Node make, which a page in a browser has not')
}
