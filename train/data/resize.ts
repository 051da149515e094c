import { makeFilter, resizesRowsFirst } from '../../kernels/augment/resize.ts'

/**
 * Resizes bilinearly with half-pixel centres. When it shrinks, the triangle filter widens so that no pixel is skipped (as in
 * Pillow and torchvision's antialiased form). Nothing is cropped, so the aspect ratio may change.
 * @param source planar [channels, height, width]
 * @returns [channels, toHeight, toWidth] in the source's range
 */
export function resize(
  source: ArrayLike<number>,
  channels: number,
  height: number,
  width: number,
  toHeight: number,
  toWidth: number,
): Float32Array {
  if (resizesRowsFirst(height, width, toHeight, toWidth))
    return resizeColumns(resizeRows(source, channels, height, width, toHeight), channels * toHeight, width, toWidth)
  return resizeRows(resizeColumns(source, channels * height, width, toWidth), channels, height, toWidth, toHeight)
}

/** Resizes the height: [channels, height, width] -> [channels, toHeight, width]. */
function resizeRows(
  source: ArrayLike<number>,
  channels: number,
  height: number,
  width: number,
  toHeight: number,
): Float32Array {
  const out = new Float32Array(channels * toHeight * width)
  const { first, weights, count } = makeFilter(height, toHeight)
  for (let c = 0; c < channels; c++) {
    for (let y = 0; y < toHeight; y++) {
      const to = (c * toHeight + y) * width
      // Rows are the inner loop, so that memory is read in order.
      for (let i = 0; i < count; i++) {
        const weight = weights[y * count + i]!
        const from = (c * height + first[y]! + i) * width
        for (let x = 0; x < width; x++) out[to + x] = out[to + x]! + weight * source[from + x]!
      }
    }
  }
  return out
}

/** Resizes the width: [rows, width] -> [rows, toWidth]. */
function resizeColumns(source: ArrayLike<number>, rows: number, width: number, toWidth: number): Float32Array {
  const { first, weights, count } = makeFilter(width, toWidth)
  const out = new Float32Array(rows * toWidth)
  for (let row = 0; row < rows; row++) {
    for (let x = 0; x < toWidth; x++) {
      const from = row * width + first[x]!
      let sum = 0
      for (let i = 0; i < count; i++) sum += weights[x * count + i]! * source[from + i]!
      out[row * toWidth + x] = sum
    }
  }
  return out
}
