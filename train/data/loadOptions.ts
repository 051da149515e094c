import type { OptionNames } from '../../engine/base/options.ts'
import type { LocateOptions } from './locate.ts'
import type { OwnOptions } from './own/options.ts'

/** Where the files of a data set are, and for one of the user's own how they are read. */
export interface LoadOptions extends LocateOptions, OwnOptions {}

/** The options of `loadDataset`, on Node and in a browser. */
export const LOAD_OPTIONS: OptionNames<LoadOptions> = {
  dir: true,
  download: true,
  imageSize: true,
  multipleOf: true,
  channels: true,
  classNames: true,
  seed: true,
  testShare: true,
  recordShape: true,
  skipBroken: true,
  onProgress: true,
}
