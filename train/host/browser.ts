import { UserError } from '../../engine/base/errors.ts'
import type { Host } from './types.ts'

export const loadDataset: Host['loadDataset'] = async (name) => {
  throw new UserError(`the data set ${name} is read from files, which a page in a browser has not`)
}

export const openData: Host['openData'] = async ({ dataset }) => loadDataset(dataset) as never

export const expand: Host['expand'] = async () => {
  throw new UserError('an expansion trains on batches that threads of Node make, which a page in a browser has not')
}
