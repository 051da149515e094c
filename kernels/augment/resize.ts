/** The filter of a resize along one dimension. */
export interface Filter {
  /** Input position of the first weight of each output position. */
  first: Int32Array
  /** Weights [outputs, count], whose sums are 1. */
  weights: Float64Array
  count: number
}

/** Bits after the point of a weight of bytes, as in Pillow. */
const PRECISION = 22

/**
 * Makes the filter of a bilinear resize with half-pixel centres. When it shrinks, the triangle widens so that no pixel is skipped (as in
 * Pillow and torchvision's antialiased form).
 */
export function makeFilter(from: number, to: number): Filter {
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

/** A filter in fixed point, for bytes. */
export interface ByteFilter {
  first: Int32Array
  weights: Int32Array
  count: number
}

let latest: { from: number; to: number; filter: ByteFilter }[] = []

/** Makes the filter of a resize of bytes. It keeps the latest two, since a run resizes every image alike. */
export function byteFilter(from: number, to: number): ByteFilter {
  const known = latest.find((entry) => entry.from === from && entry.to === to)
  if (known) return known.filter
  const filter = withoutZeros(makeFilter(from, to), from)
  latest = [{ from, to, filter }, ...latest.slice(0, 1)]
  return filter
}

/** Rounds the weights of a filter, and narrows it to the most weights of an output position between zeros. */
function withoutZeros({ first, weights, count }: Filter, from: number): ByteFilter {
  const rounded = Int32Array.from(weights, (weight) => Math.floor(weight * 2 ** PRECISION + 0.5))
  const rows = Array.from(first, (_, i) => rounded.subarray(i * count, (i + 1) * count))
  const begins = rows.map((row) => row.findIndex((weight) => weight !== 0))
  const narrow = Math.max(...rows.map((row, i) => row.findLastIndex((weight) => weight !== 0) + 1 - begins[i]!))
  const starts = first.map((place, i) => Math.min(place + begins[i]!, from - narrow))
  const kept = rows.flatMap((row, i) => Array.from({ length: narrow }, (_, k) => row[starts[i]! - first[i]! + k] ?? 0))
  return { first: starts, weights: Int32Array.from(kept), count: narrow }
}

/**
 * Whether a resize begins with the rows: columns come first, unless that makes the image between the passes of a narrow, high one much
 * larger than source and result.
 */
export function resizesRowsFirst(height: number, width: number, toHeight: number, toWidth: number): boolean {
  return height * toWidth > 4 * Math.max(height * width, toHeight * toWidth)
}

/**
 * Resizes bytes bilinearly (see `makeFilter`), to Pillow's bytes. Nothing is cropped, so the aspect ratio may change.
 * @param source planar [channels, height, width]
 * @returns [channels, toHeight, toWidth]
 */
export function resizeBytes(
  source: Uint8Array,
  channels: number,
  height: number,
  width: number,
  toHeight: number,
  toWidth: number,
): Uint8Array {
  if (resizesRowsFirst(height, width, toHeight, toWidth))
    return resizeColumns(resizeRows(source, channels, height, width, toHeight), channels * toHeight, width, toWidth)
  return resizeRows(resizeColumns(source, channels * height, width, toWidth), channels, height, toWidth, toHeight)
}

/** Resizes the height: [channels, height, width] -> [channels, toHeight, width]. */
function resizeRows(source: Uint8Array, channels: number, height: number, width: number, toHeight: number): Uint8Array {
  if (height === toHeight) return source
  const out = new Uint8Array(channels * toHeight * width)
  const sums = new Int32Array(width)
  const { first, weights, count } = byteFilter(height, toHeight)
  for (let c = 0; c < channels; c++) {
    for (let y = 0; y < toHeight; y++) {
      sums.fill(2 ** (PRECISION - 1))
      // Rows are the inner loop, so that memory is read in order.
      for (let i = 0; i < count; i++) {
        const weight = weights[y * count + i]!
        if (weight === 0) continue
        const from = (c * height + first[y]! + i) * width
        for (let x = 0; x < width; x++) sums[x] = sums[x]! + weight * source[from + x]!
      }
      const to = (c * toHeight + y) * width
      for (let x = 0; x < width; x++) out[to + x] = Math.min(255, sums[x]! >> PRECISION)
    }
  }
  return out
}

/** Resizes the width: [rows, width] -> [rows, toWidth]. */
function resizeColumns(source: Uint8Array, rows: number, width: number, toWidth: number): Uint8Array {
  if (width === toWidth) return source
  const { first, weights, count } = byteFilter(width, toWidth)
  const out = new Uint8Array(rows * toWidth)
  for (let row = 0; row < rows; row++) {
    for (let x = 0; x < toWidth; x++) {
      const from = row * width + first[x]!
      let sum = 2 ** (PRECISION - 1)
      for (let i = 0; i < count; i++) sum += weights[x * count + i]! * source[from + i]!
      out[row * toWidth + x] = Math.min(255, sum >> PRECISION)
    }
  }
  return out
}
