import { UserError } from '../../engine/errors.ts'
import type { BatchSpec } from './batch.ts'
import { wrongStatistics } from './normalize.ts'
import { MAX_MAGNITUDE } from './randaugment.ts'

/** Throws a UserError, in one line, for a batch size, subset, normalisation, size or augmentation that cannot be. */
export function checkSpec(spec: BatchSpec, count: number): void {
  const { images, labels, indices, channels, height, width, size, mean, std, seed, augment } = spec
  if (labels.length !== count || images.length !== count * channels * height * width) {
    throw new UserError(
      `${images.length} bytes of images and ${labels.length} labels are not ${count} images [${channels}, ${height}, ${width}]; ` +
        'load the data set anew',
    )
  }
  whole('batch size', spec.batchSize, 1)
  whole('image size', size.height, 1)
  whole('seed', seed, 0)
  if (indices.length === 0) throw new UserError('no image takes part; choose a larger subset or a smaller validation share')
  const outside = indices.find((index) => !(index >= 0 && index < count))
  if (outside !== undefined) throw new UserError(`index ${outside} is outside the ${count} images; use 0 to ${count - 1}`)
  const wrong = wrongStatistics(mean, std, channels)
  if (wrong) throw new UserError(`${wrong}; give as many`)
  if (augment?.cropPadding !== undefined) whole('crop padding', augment.cropPadding, 0)
  if (!augment?.randAugment) return
  const { n, magnitude } = augment.randAugment
  whole('RandAugment operations', n, 0)
  if (!(magnitude >= 0 && magnitude <= MAX_MAGNITUDE)) {
    throw new UserError(`RandAugment magnitude ${magnitude} is not between 0 and ${MAX_MAGNITUDE}; choose one that is`)
  }
}

/** Throws a UserError unless the value is a whole number of at least `least`. */
export function whole(what: string, value: number, least: number): void {
  if (!(Number.isSafeInteger(value) && value >= least)) {
    throw new UserError(`${what} ${value} is not a whole number of at least ${least}; choose one that is`)
  }
}
