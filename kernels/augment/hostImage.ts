import type { CounterRandom } from '../random/counterRandom.ts'
import type { AugmentOptions, AugmentSpec } from './augment.ts'
import { randAugment } from './operations.ts'
import { resizeBytes } from './resize.ts'

/**
 * Makes the bytes of one image of a batch on the host: resized, then augmented.
 * @param stored uint8 [channels, sourceHeight, sourceWidth]
 * @param random the only source of randomness
 * @returns uint8 [channels, height, width], which is `stored` itself where nothing changes
 */
export function hostImage(
  stored: Uint8Array,
  { channels, sourceHeight, sourceWidth, height, width, options }: Omit<AugmentSpec, 'seed' | 'purpose'>,
  random: CounterRandom,
): Uint8Array {
  const resized = resizeBytes(stored, channels, sourceHeight, sourceWidth, height, width)
  return augment(resized, channels, height, width, options, random)
}

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
