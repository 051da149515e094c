import * as op from './imageops.ts'
import type { CounterRandom } from './random.ts'

type Operation = (
  image: Uint8Array,
  channels: number,
  height: number,
  width: number,
  level: number,
  sign: 1 | -1,
) => Uint8Array

/** The published space of operations; `level` is the magnitude in [0, 1], `sign` is drawn anew for each use. */
const OPERATIONS: readonly Operation[] = [
  (image) => image,
  (image, c, h, w, level, sign) => op.affine(image, c, h, w, [1, sign * 0.3 * level, 0, 0, 1, 0]),
  (image, c, h, w, level, sign) => op.affine(image, c, h, w, [1, 0, 0, sign * 0.3 * level, 1, 0]),
  (image, c, h, w, level, sign) => op.affine(image, c, h, w, [1, 0, sign * Math.round((150 / 331) * w * level), 0, 1, 0]),
  (image, c, h, w, level, sign) => op.affine(image, c, h, w, [1, 0, 0, 0, 1, sign * Math.round((150 / 331) * h * level)]),
  (image, c, h, w, level, sign) => op.rotate(image, c, h, w, sign * 30 * level),
  (image, _c, _h, _w, level, sign) => op.brightness(image, 1 + sign * 0.9 * level),
  (image, c, _h, _w, level, sign) => op.saturation(image, c, 1 + sign * 0.9 * level),
  (image, c, _h, _w, level, sign) => op.contrast(image, c, 1 + sign * 0.9 * level),
  (image, c, h, w, level, sign) => op.sharpness(image, c, h, w, 1 + sign * 0.9 * level),
  (image, _c, _h, _w, level) => op.posterize(image, 8 - Math.round(4 * level)),
  (image, _c, _h, _w, level) => op.solarize(image, 255 * (1 - level)),
  (image, c) => op.autoContrast(image, c),
  (image, c) => op.equalize(image, c),
]

/** Magnitudes run from 0 to 30, as in torchvision's default of 31 bins. */
export const MAX_MAGNITUDE = 30

/** RandAugment (Cubuk et al., 2020): `n` operations drawn with replacement, all at one magnitude. */
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
    const operation = OPERATIONS[random.below(OPERATIONS.length)]!
    const sign = random.uniform() < 0.5 ? -1 : 1
    out = operation(out, channels, height, width, level, sign)
  }
  return out
}
