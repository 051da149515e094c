import * as host from '#host'
import type { Host } from './types.ts'

// The types name no module of Node or of browsers, so that the package's declarations need neither.
const current: Host = host

/**
 * Loads a data set whole into memory. A browser has none yet, and always throws.
 * @see Dataset
 * @throws UserError in one line: which file, what is wrong, what to do
 */
export const loadDataset: Host['loadDataset'] = current.loadDataset

/** Loads the data set of settings, and makes the loaders of a run. A browser always throws. @throws UserError in one line */
export const openData: Host['openData'] = current.openData
