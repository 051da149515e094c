import { refusal } from '../../../engine/base/checks.ts'
import { UserError } from '../../../engine/base/errors.ts'
import { kindOf } from '../../../engine/base/kind.ts'
import { CONFIG_LIMITS } from '../../../model/config.ts'
import { whole } from '../check.ts'
import type { OwnSettings } from '../dataset.ts'

/** The folder of a data set of the user's own, and how it is read. */
export interface OwnOptions extends OwnSettings {
  dir?: string | undefined
  /** Pixels of a side. */
  imageSize?: number | undefined
  /** A side that nothing else decides is a multiple of this. */
  multipleOf?: number | undefined
  /** Channels of images: 1 (gray) or 3 (RGB). */
  channels?: number | undefined
  /** Names of all classes in label order, as a model knows them. */
  classNames?: readonly string[] | undefined
  /** Leaves out image files that cannot be decoded. */
  skipBroken?: boolean | undefined
  onProgress?: ((done: number, of: number) => void) | undefined
}

/** The smallest and the largest share of test images. */
export const TEST_SHARES = { min: 0.01, max: 0.9 }

/**
 * Checks options that settings or a checkpoint gave, or a program.
 * @throws UserError in one line for a value out of range; ArgumentError for functions and names of a wrong kind
 */
export function checkOwnOptions(options: OwnOptions): void {
  const { dir, imageSize, multipleOf, channels, classNames, seed, testShare, recordShape, onProgress } = options
  if (typeof dir !== 'string') throw refusal('loadDataset', dir, 'a path', 'dir')
  if (imageSize !== undefined) whole('image size', imageSize, 1, CONFIG_LIMITS.imageSize)
  if (multipleOf !== undefined) whole('patch size', multipleOf, 1, CONFIG_LIMITS.patchSize)
  if (seed !== undefined) whole('seed', seed, 0, Number.MAX_SAFE_INTEGER)
  checkChannels(channels)
  if (testShare !== undefined && !(testShare >= TEST_SHARES.min && testShare <= TEST_SHARES.max))
    throw new UserError(`--test-share ${kindOf(testShare)} is not a number from ${TEST_SHARES.min} to ${TEST_SHARES.max}`)
  checkRecordShape(recordShape)
  if (classNames !== undefined && !(Array.isArray(classNames) && classNames.every((name) => typeof name === 'string')))
    throw refusal('loadDataset', classNames, 'a list of texts', 'classNames')
  if (onProgress !== undefined && typeof onProgress !== 'function')
    throw refusal('loadDataset', onProgress, 'a function', 'onProgress')
}

/** @throws UserError for a number of channels that images are not read with */
export function checkChannels(channels: number | undefined): void {
  if (channels !== undefined && channels !== 1 && channels !== 3)
    throw new UserError(`--channels ${kindOf(channels)} is neither 1 (gray) nor 3 (RGB); choose one of them`)
}

/** @throws UserError for a shape of records that no file has */
export function checkRecordShape(shape: readonly number[] | undefined): void {
  if (shape === undefined) return
  const most = [CONFIG_LIMITS.channels, CONFIG_LIMITS.imageSize, CONFIG_LIMITS.imageSize]
  const fits = Array.isArray(shape) && shape.length === 3
  if (!fits || !shape.every((size, i) => Number.isSafeInteger(size) && size >= 1 && size <= most[i]!))
    throw new UserError('--record-shape takes channels, height and width of a record, such as 3,32,32')
}
