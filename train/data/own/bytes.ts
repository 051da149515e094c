import { UserError } from '../../../engine/base/errors.ts'
import type { Dataset, OwnSettings } from '../dataset.ts'
import { sharedBytes } from '../files.ts'
import type { OwnFormat } from '../names.ts'
import { checkLabels, type Split } from '../split.ts'
import { toSquare } from '../square.ts'
import { readClassNames } from './classNames.ts'
import type { OwnOptions } from './options.ts'
import { channelStatistics } from './statistics.ts'

/** Images and labels of files whose classes are numbers. */
export interface NumberedImages {
  name: OwnFormat
  dir: string
  channels: number
  height: number
  width: number
  train: Split
  test: Split
  files: readonly string[]
  own: OwnSettings
}

/**
 * Makes a data set of images whose classes are numbers from 0. There are as many as a file of class names says, else one more than the
 * largest label. Images that are not square are cropped, to the image size or else to their shorter side.
 * @throws UserError in one line for a label without name, and for a single class
 */
export async function numberedDataset(found: NumberedImages, options: OwnOptions): Promise<Dataset> {
  const { name, dir, channels, height, width, files, own } = found
  const named = await readClassNames(dir)
  const largest = ({ labels }: Split) => {
    let most = 0
    for (const label of labels) most = Math.max(most, label)
    return most
  }
  const classNames = named?.names ?? options.classNames
  const classes = classNames?.length ?? Math.max(largest(found.train), largest(found.test)) + 1
  for (const split of [found.train, found.test]) checkLabels(split.labels, classes, named?.path ?? dir)
  if (classes < 2) throw new UserError(`${dir}: all labels are 0; give images of two or more classes`)
  const side = options.imageSize ?? Math.min(height, width)
  const square = height === width ? { height, width } : { height: side, width: side }
  const squared = (split: Split): Split => (height === width ? split : { ...split, images: cropped(split, found, side) })
  const train = squared(found.train)
  return {
    ...{ name, channels, ...square, classes },
    ...channelStatistics(train.images, channels, square.height * square.width),
    ...(classNames && { classNames: [...classNames] }),
    train,
    test: squared(found.test),
    ...{ files, own },
  }
}

/** Returns the images of a split as squares: uint8 [count, channels, side, side]. */
function cropped(split: Split, { channels, height, width, dir }: NumberedImages, side: number): Uint8Array {
  const [from, to] = [channels * height * width, channels * side * side]
  const out = sharedBytes(split.count * to)
  for (let i = 0; i < split.count; i++) {
    const image = split.images.subarray(i * from, (i + 1) * from)
    out.set(toSquare(image, channels, height, width, side, 'crop', dir), i * to)
  }
  return out
}
