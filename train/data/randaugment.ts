import * as op from './imageops.ts'
import type { CounterRandom } from './random.ts'

type Operation = (image: Uint8Array, channels: number, height: number, width: number, level: number, sign: 1 | -1) => Uint8Array

/**
 * The 14 operations of RandAugment with the ranges of torchvision's `RandAugment` (31 bins, nearest sampling, black fill).
 * `level` is the magnitude in [0, 1], and `sign` is drawn for each use. As in the published code a shear keeps the upper
 * left corner, a rotation keeps the centre, and a translation is truncated to whole pixels.
 */
export const OPERATIONS: Readonly<Record<string, Operation>> = {
  identity: (image) => image,
  shearX: (image, _c, h, w, level, sign) => op.affine(image, h, w, [1, sign * 0.3 * level, 0, 0, 1, 0]),
  shearY: (image, _c, h, w, level, sign) => op.affine(image, h, w, [1, 0, 0, sign * 0.3 * level, 1, 0]),
  translateX: (image, _c, h, w, level, sign) =>
    op.affine(image, h, w, [1, 0, sign * Math.floor((150 / 331) * w * level), 0, 1, 0]),
  translateY: (image, _c, h, w, level, sign) =>
    op.affine(image, h, w, [1, 0, 0, 0, 1, sign * Math.floor((150 / 331) * h * level)]),
  rotate: (image, _c, h, w, level, sign) => op.rotate(image, h, w, sign * 30 * level),
  brightness: (image, _c, _h, _w, level, sign) => op.brightness(image, 1 + sign * 0.9 * level),
  color: (image, c, _h, _w, level, sign) => op.saturation(image, c, 1 + sign * 0.9 * level),
  contrast: (image, c, _h, _w, level, sign) => op.contrast(image, c, 1 + sign * 0.9 * level),
  sharpness: (image, c, h, w, level, sign) => op.sharpness(image, c, h, w, 1 + sign * 0.9 * level),
  posterize: (image, _c, _h, _w, level) => op.posterize(image, 8 - Math.round(4 * level)),
  solarize: (image, _c, _h, _w, level) => op.solarize(image, 255 * (1 - level)),
  autoContrast: (image, c) => op.autoContrast(image, c),
  equalize: (image, c) => op.equalize(image, c),
}

const CHOICES = Object.values(OPERATIONS)

/** The largest magnitude, as in torchvision's default of 31 bins. */
export const MAX_MAGNITUDE = 30

/** Applies RandAugment (Cubuk et al., 2020): `n` operations drawn with replacement, all at one magnitude. */
export function randAugment(
  image: Uint8Array,
  channels: number,
  height: number,
  width: number,
  { n, magnitude }: { n: number; magnitude: number },
  random: CounterRandom,
): Uint8Array {
  const level = magnitude / MAX_MAGNITUDE
  let out = image
  for (let i = 0; i < n; i++) {
    const operation = CHOICES[random.below(CHOICES.length)]!
    const sign = random.uniform() < 0.5 ? -1 : 1
    out = operation(out, channels, height, width, level, sign)
  }
  return out
}
