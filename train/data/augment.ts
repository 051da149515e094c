import type { OptionNames } from '../../engine/base/options.ts'
import { randAugment } from './randaugment.ts'
import type { CounterRandom } from './random.ts'

/** Random changes to training images; whatever is left out is not done. */
export interface AugmentOptions {
  /** Pad by so many zero pixels on each side, then crop at random to the size before. */
  cropPadding?: number
  /** Mirror every other image, at random. */
  flip?: boolean
  /** `n` random operations of the given magnitude (0 to 30). */
  randAugment?: { n: number; magnitude: number }
}

export const AUGMENTATIONS: OptionNames<AugmentOptions> = { cropPadding: true, flip: true, randAugment: true }

/**
 * Crop, flip and RandAugment, in this order, on one uint8 image [channels, height, width].
 * @returns a new image of the same shape (the same array when nothing is to be done); `random` alone decides it
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

/** Pads with zeros by `padding` on each side and crops at random back to [channels, height, width]. */
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

/** The window of the zero-padded image whose upper left corner is at (top, left). */
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
