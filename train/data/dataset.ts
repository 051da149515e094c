import type { DatasetKind } from './names.ts'
import type { Split } from './split.ts'

/** Settings that decide, besides the files, what the images of a data set of the user's own are. A checkpoint keeps them. */
export interface OwnSettings {
  /** Seed of the division into training and test images. */
  seed?: number | undefined
  /** Share of each class that is for tests, where no folder says which images are. */
  testShare?: number | undefined
  /** Channels, height and width of a record. */
  recordShape?: number[] | undefined
}

/** A labelled image data set. */
export interface Dataset {
  name: DatasetKind
  channels: number
  height: number
  width: number
  classes: number
  /** Mean of each channel, for pixels in [0, 1]. */
  mean: number[]
  /** Standard deviation of each channel, for pixels in [0, 1]. */
  std: number[]
  classNames?: string[]
  train: Split
  test: Split
  /** Training images that the data set itself holds out for validation, by their indices. */
  validation?: Int32Array
  /** Paths of the files that it was read from. */
  files?: readonly string[]
  /** Checksums of the files of each class, in place of `files` where they are many. */
  sha256?: Readonly<Record<string, string>>
  /** One line that names the files that were left out of the data set. */
  leftOut?: string
  /** The settings that it was read with, if it is of the user's own. */
  own?: OwnSettings
}
