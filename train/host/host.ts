import * as host from '#host'
import type { Host } from './types.ts'

// The types name no module of Node or of browsers, so that the package's declarations need neither.
const current: Host = host

/**
 * Loads a data set whole into memory; a page reads it below the address `dir`, by default `data/NAME`.
 * @see Dataset
 * @throws UserError in one line: which file, what is wrong, what to do
 */
export const loadDataset: Host['loadDataset'] = current.loadDataset

/** Loads the data set of settings as `loadDataset`, and makes the loaders of a run. @throws UserError in one line */
export const openData: Host['openData'] = current.openData

/**
 * Has a trained model learn task after task, in several ways, and measures what it learns and forgets. All arms have the same settings,
 * seed and number of epochs. `classTasks` and its like make tasks, `cutModel` a base. A browser always throws.
 * @returns the results, and the models after the last task by arm
 * @throws UserError for fewer than 2 tasks, a base of other classes than the first task, bad options, and an untrained base;
 *   ExpansionStoppedError when `shouldStop` ends it
 */
export const expand: Host['expand'] = current.expand
