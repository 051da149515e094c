import type { OptionNames } from '../../engine/base/options.ts'
import { randAugment } from './randaugment.ts'
import type { CounterRandom } from './random.ts'

/** Random changes of training images; default none. */
export interface AugmentOptions {
  /** Zero pixels that are added on each side before a random crop to the original size. */
  cropPadding?: number
  /** Whether images are mirrored with probability 1/2. */
  flip?: boolean
  /** The number of random operations and their magnitude (0 to 30). */
  randAugment?: { n: number; magnitude: number }
}

export const AUGMENTATIONS: OptionNames<AugmentOptions> = { cropPadding: true, flip: true, randAugment: true }

/**
 * Applies crop, flip and RandAugment, in this order, to one uint8 image [channels, height, width].
 * @param random the only source of randomness
 * @returns a new image of the same shape, or the same array without any change
 */
export function augment(
  image: Uint8Array,
  channels: number,
  height: number,
  width: number,
  options: AugmentOptions,
  random: CounterRandom,
): Uint8Array {
  let out = image
  if (options.cropPadding) out = randomCrop(out, channels, height, width, options.cropPadding, random)
  if (options.flip && random.uniform() < 0.5) out = flipHorizontally(out, width)
  if (options.randAugment) out = randAugment(out, channels, height, width, options.randAugment, random)
  return out
}

/** Pads with `padding` zeros on each side and crops at random back to [channels, height, width]. */
export function randomCrop(
  image: Uint8Array,
  channels: number,
  height: number,
  width: number,
  padding: number,
  random: CounterRandom,
): Uint8Array {
  const top = random.below(2 * padding + 1) - padding
  const left = random.below(2 * padding + 1) - padding
  return shift(image, channels, height, width, top, left)
}

/** Cuts the window with its upper left corner at (top, left) from the image, with zeros outside the image. */
export function shift(image: Uint8Array, channels: number, height: number, width: number, top: number, left: number) {
  const out = new Uint8Array(image.length)
  const from = Math.max(0, left)
  const to = Math.min(width, width + left)
  if (to <= from) return out
  for (let c = 0; c < channels; c++) {
    for (let y = Math.max(0, -top); y < Math.min(height, height - top); y++) {
      const row = (c * height + y + top) * width
      out.set(image.subarray(row + from, row + to), (c * height + y) * width + from - left)
    }
  }
  return out
}

/** Mirrors every row of a planar image. */
export function flipHorizontally(image: Uint8Array, width: number): Uint8Array {
  const out = image.slice()
  for (let row = 0; row < out.length; row += width) out.subarray(row, row + width).reverse()
  return out
}
