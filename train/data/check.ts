import { UserError } from '../../engine/base/errors.ts'
import { MAX_MAGNITUDE } from '../../kernels/augment/operations.ts'
import type { BatchSpec } from './batch.ts'
import { wrongStatistics } from './normalize.ts'

/** Largest number of images in a mini-batch. */
const MAX_IMAGES = 2 ** 31 - 1
/** Largest number of bytes of a mini-batch in float32, several of which are made ahead. */
const MAX_BYTES = 2 ** 30
/** Largest number of pixels of a side of an image. */
const MAX_SIDE = 8192
/** Largest number of operations of RandAugment on an image. */
const MAX_OPERATIONS = 100

/** @throws UserError, in one line, for an impossible batch size, subset, normalisation, image size or augmentation */
export function checkSpec(spec: BatchSpec, count: number): void {
  const { images, labels, indices, channels, height, width, size, mean, std, seed, augment } = spec
  if (labels.length !== count || images.length !== count * channels * height * width) {
    throw new UserError(
      `${images.length} bytes of images and ${labels.length} labels are not ${count} images [${channels}, ${height}, ${width}]; ` +
        'load the data set anew',
    )
  }
  whole('batch size', spec.batchSize, 1, MAX_IMAGES)
  whole('image size', size.height, 1, MAX_SIDE)
  whole('seed', seed, 0, Number.MAX_SAFE_INTEGER)
  const bytes = 4 * Math.min(spec.batchSize, count) * channels * size.height * size.width
  if (bytes > MAX_BYTES) {
    throw new UserError(
      `a mini-batch of ${spec.batchSize} images [${channels}, ${size.height}, ${size.width}] takes ${(bytes / 2 ** 30).toFixed(1)} GiB, ` +
        `more than ${MAX_BYTES / 2 ** 30}; lower --batch-size or --image-size`,
    )
  }
  if (indices.length === 0) throw new UserError('no image takes part; choose a larger subset or a smaller validation share')
  const outside = indices.find((index) => !(index >= 0 && index < count))
  if (outside !== undefined) throw new UserError(`index ${outside} is outside the ${count} images; use 0 to ${count - 1}`)
  const wrong = wrongStatistics(mean, std, channels)
  if (wrong) throw new UserError(`${wrong}; give as many`)
  if (augment?.cropPadding !== undefined) whole('crop padding', augment.cropPadding, 0, Math.max(size.height, size.width))
  if (augment?.randAugment) checkRandAugment(augment.randAugment.n, augment.randAugment.magnitude)
}

/** @throws UserError for a number of operations or a magnitude that is out of range */
export function checkRandAugment(n: number, magnitude: number): void {
  whole('RandAugment operations', n, 0, MAX_OPERATIONS)
  if (!(magnitude >= 0 && magnitude <= MAX_MAGNITUDE)) {
    throw new UserError(`RandAugment magnitude ${magnitude} is not between 0 and ${MAX_MAGNITUDE}; choose one that is`)
  }
}

/** @throws UserError unless `value` is a whole number from `min` to `max` */
export function whole(what: string, value: number, min: number, max: number): void {
  if (!(Number.isSafeInteger(value) && value >= min && value <= max)) {
    throw new UserError(`${what} ${value} is not a whole number from ${min} to ${max}; choose one that is`)
  }
}
