import type { CounterRandom } from '../random/counterRandom.ts'
import * as op from './imageOps.ts'

type Operation = (image: Uint8Array, channels: number, height: number, width: number, level: number, sign: 1 | -1) => Uint8Array

/** The affine operations, by the matrix of an image's height and width; they come after the identity, in this order. */
const MATRICES = {
  shearX: (_h, _w, level, sign) => [1, sign * 0.3 * level, 0, 0, 1, 0],
  shearY: (_h, _w, level, sign) => [1, 0, 0, sign * 0.3 * level, 1, 0],
  translateX: (_h, w, level, sign) => [1, 0, sign * Math.floor((150 / 331) * w * level), 0, 1, 0],
  translateY: (h, _w, level, sign) => [1, 0, 0, 0, 1, sign * Math.floor((150 / 331) * h * level)],
  rotate: (h, w, level, sign) => op.rotation(h, w, sign * 30 * level),
} satisfies Record<string, (h: number, w: number, level: number, sign: 1 | -1) => op.AffineMatrix>

/**
 * The 14 operations of RandAugment with the ranges of torchvision's `RandAugment` (31 bins, nearest sampling, black fill).
 * `level` is the magnitude in [0, 1], and `sign` is drawn for each use. As in the published code a shear keeps the upper
 * left corner, a rotation keeps the centre, and a translation is truncated to whole pixels.
 */
export const OPERATIONS: Readonly<Record<string, Operation>> = {
  identity: (image) => image,
  shearX: (image, _c, h, w, level, sign) => op.affine(image, h, w, MATRICES.shearX(h, w, level, sign)),
  shearY: (image, _c, h, w, level, sign) => op.affine(image, h, w, MATRICES.shearY(h, w, level, sign)),
  translateX: (image, _c, h, w, level, sign) => op.affine(image, h, w, MATRICES.translateX(h, w, level, sign)),
  translateY: (image, _c, h, w, level, sign) => op.affine(image, h, w, MATRICES.translateY(h, w, level, sign)),
  rotate: (image, _c, h, w, level, sign) => op.affine(image, h, w, MATRICES.rotate(h, w, level, sign)),
  brightness: (image, _c, _h, _w, level, sign) => op.brightness(image, blendFactor(level, sign)),
  color: (image, c, _h, _w, level, sign) => op.saturation(image, c, blendFactor(level, sign)),
  contrast: (image, c, _h, _w, level, sign) => op.contrast(image, c, blendFactor(level, sign)),
  sharpness: (image, c, h, w, level, sign) => op.sharpness(image, c, h, w, blendFactor(level, sign)),
  posterize: (image, _c, _h, _w, level) => op.posterize(image, posterizeBits(level)),
  solarize: (image, _c, _h, _w, level) => op.solarize(image, solarizeThreshold(level)),
  autoContrast: (image, c) => op.autoContrast(image, c),
  equalize: (image, c) => op.equalize(image, c),
}

/** The factor of brightness, color, contrast and sharpness. */
export function blendFactor(level: number, sign: 1 | -1): number {
  return 1 + sign * 0.9 * level
}

/** The number of upper bits that posterize keeps. */
export function posterizeBits(level: number): number {
  return 8 - Math.round(4 * level)
}

/** The byte from which on solarize inverts. */
export function solarizeThreshold(level: number): number {
  return 255 * (1 - level)
}

/** The fixed-point numbers of the affine operations, [operations, 2 signs, 6]: steps right (x, y), steps down (x, y), start (x, y). */
export function affineTable(height: number, width: number, level: number): number[] {
  return Object.values(MATRICES).flatMap((matrix) =>
    ([-1, 1] as const).flatMap((sign) => op.fixedPoint(matrix(height, width, level, sign))),
  )
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
