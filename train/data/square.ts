import { UserError } from '../../engine/base/errors.ts'
import { resizeBytes } from '../../kernels/augment/resize.ts'

/** The rule for an image that is not square: `stretch` changes its aspect ratio, `crop` keeps the middle. */
export const FITS = ['stretch', 'crop'] as const
export type Fit = (typeof FITS)[number]

/** Largest ratio of the sides of an image that is cropped, since the resized image may take a lot of memory otherwise. */
const MAX_RATIO = 32

/**
 * Makes an image square: it is resized, as `resizeBytes` does, and where `fit` is `crop` so that its shorter side becomes `side` and
 * the longer one is rounded. Then the middle is cut out; of an odd rest the smaller half is cut off first.
 * @param source planar uint8 [channels, height, width]
 * @param where the image's name, which starts the error message
 * @returns uint8 [channels, side, side]
 * @throws UserError for an image that is cropped and more than 32 times as long as its shorter side
 */
export function toSquare(
  source: Uint8Array,
  channels: number,
  height: number,
  width: number,
  side: number,
  fit: Fit,
  where: string,
): Uint8Array {
  const shorter = Math.min(height, width)
  if (fit === 'crop' && Math.max(height, width) > MAX_RATIO * shorter) {
    throw new UserError(
      `${where}: an image of ${width}x${height} is more than ${MAX_RATIO} times as long as its shorter side; cut it`,
    )
  }
  const lengthOf = (length: number) => (fit === 'stretch' ? side : Math.round((length * side) / shorter))
  const [toHeight, toWidth] = [lengthOf(height), lengthOf(width)]
  const same = toHeight === height && toWidth === width
  const resized = same ? source : resizeBytes(source, channels, height, width, toHeight, toWidth)
  if (toHeight === side && toWidth === side) return resized
  const out = new Uint8Array(channels * side * side)
  const [top, left] = [(toHeight - side) >> 1, (toWidth - side) >> 1]
  for (let c = 0; c < channels; c++) {
    for (let y = 0; y < side; y++) {
      const from = (c * toHeight + top + y) * toWidth + left
      out.set(resized.subarray(from, from + side), (c * side + y) * side)
    }
  }
  return out
}
