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
  // Columns come first, unless that makes the intermediate image of a narrow, high one much larger than source and result.
  const rowsFirst = height * toWidth > 4 * Math.max(height * width, toHeight * toWidth)
  if (rowsFirst)
    return resizeColumns(resizeRows(source, channels, height, width, toHeight), channels * toHeight, width, toWidth)
  return resizeRows(resizeColumns(source, channels * height, width, toWidth), channels, height, toWidth, toHeight)
}

/** Resizes bytes like `resize`, and rounds to the nearest. */
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
  // Weights sum to 1 up to rounding, so a value may exceed 255 slightly, but never by 0.5.
  for (let i = 0; i < out.length; i++) out[i] = values[i]! + 0.5
  return out
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
  const { first, weights, count } = filterFor(height, toHeight)
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
  const { first, weights, count } = filterFor(width, toWidth)
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

/** The filter of a resize along one dimension. */
interface Filter {
  /** Input position of the first weight of each output position. */
  first: Int32Array
  /** Weights [outputs, count]. */
  weights: Float64Array
  count: number
}

let latest: { from: number; to: number; filter: Filter }[] = []

/** Returns the filter that `makeFilter` makes. It keeps the latest two, since a run resizes every image alike. */
function filterFor(from: number, to: number): Filter {
  const known = latest.find((entry) => entry.from === from && entry.to === to)
  if (known) return known.filter
  const filter = makeFilter(from, to)
  latest = [{ from, to, filter }, ...latest.slice(0, 1)]
  return filter
}

function makeFilter(from: number, to: number): Filter {
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
