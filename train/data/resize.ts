/**
 * Bilinear resize with half-pixel centres; when shrinking, the triangle filter widens so that no pixel is skipped (as in
 * Pillow and torchvision's antialiased form). Heights and widths may change apart: nothing is cropped.
 * @param source planar [channels, height, width]
 * @returns Float32Array [channels, toHeight, toWidth] in the source's range
 */
export function resize(
  source: ArrayLike<number>,
  channels: number,
  height: number,
  width: number,
  toHeight: number,
  toWidth: number,
): Float32Array {
  // Columns first, unless that makes much more of a narrow, high image than it was or becomes.
  const rowsFirst = height * toWidth > 4 * Math.max(height * width, toHeight * toWidth)
  if (rowsFirst)
    return resizeColumns(resizeRows(source, channels, height, width, toHeight), channels * toHeight, width, toWidth)
  return resizeRows(resizeColumns(source, channels * height, width, toWidth), channels, height, toWidth, toHeight)
}

/** `resize` for bytes, rounded to the nearest. */
export function resizeBytes(
  source: Uint8Array,
  channels: number,
  height: number,
  width: number,
  toHeight: number,
  toWidth: number,
): Uint8Array {
  const values = resize(source, channels, height, width, toHeight, toWidth)
  const out = new Uint8Array(values.length)
  // Weights sum to 1 only up to rounding, so a value may be a hair above 255, never half a step.
  for (let i = 0; i < out.length; i++) out[i] = values[i]! + 0.5
  return out
}

/** [channels, height, width] -> [channels, toHeight, width] */
function resizeRows(
  source: ArrayLike<number>,
  channels: number,
  height: number,
  width: number,
  toHeight: number,
): Float32Array {
  const out = new Float32Array(channels * toHeight * width)
  const { first, weights, count } = tapsFor(height, toHeight)
  for (let c = 0; c < channels; c++) {
    for (let y = 0; y < toHeight; y++) {
      const to = (c * toHeight + y) * width
      // Row by row, so that memory is walked in order.
      for (let i = 0; i < count; i++) {
        const weight = weights[y * count + i]!
        const from = (c * height + first[y]! + i) * width
        for (let x = 0; x < width; x++) out[to + x] = out[to + x]! + weight * source[from + x]!
      }
    }
  }
  return out
}

/** [rows, width] -> [rows, toWidth] */
function resizeColumns(source: ArrayLike<number>, rows: number, width: number, toWidth: number): Float32Array {
  const { first, weights, count } = tapsFor(width, toWidth)
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

/** For each output position: `count` weights, and the input position of the first. */
interface Taps {
  first: Int32Array
  weights: Float64Array
  count: number
}

let latest: { from: number; to: number; taps: Taps }[] = []

/** `makeTaps`, remembering the two latest: a run resizes every image alike. */
function tapsFor(from: number, to: number): Taps {
  const known = latest.find((entry) => entry.from === from && entry.to === to)
  if (known) return known.taps
  const taps = makeTaps(from, to)
  latest = [{ from, to, taps }, ...latest.slice(0, 1)]
  return taps
}

function makeTaps(from: number, to: number): Taps {
  const scale = from / to
  const support = Math.max(scale, 1)
  const count = Math.min(from, Math.ceil(2 * support) + 1)
  const first = new Int32Array(to)
  const weights = new Float64Array(to * count)
  for (let i = 0; i < to; i++) {
    const center = (i + 0.5) * scale
    first[i] = Math.min(from - count, Math.max(0, Math.floor(center - support + 0.5)))
    const row = weights.subarray(i * count, (i + 1) * count)
    for (let k = 0; k < count; k++) row[k] = Math.max(0, 1 - Math.abs((first[i]! + k + 0.5 - center) / support))
    const total = row.reduce((sum, weight) => sum + weight, 0)
    for (let k = 0; k < count; k++) row[k] = row[k]! / total
  }
  return { first, weights, count }
}
