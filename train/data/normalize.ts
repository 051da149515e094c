/** Bounds of mean and standard deviation that keep normalised pixels finite in float32. */
const [MIN_STD, MAX_STATISTIC] = [1e-6, 1e6]

/** Says why mean and standard deviation do not fit `channels` channels, or returns undefined. */
export function wrongStatistics(mean: readonly unknown[], std: readonly unknown[], channels: number): string | undefined {
  const isNumber = (value: unknown): value is number => typeof value === 'number' && Math.abs(value) <= MAX_STATISTIC
  if (mean.length !== channels || !mean.every(isNumber)) {
    return `mean [${mean.join(', ')}] is not ${channels} finite numbers, one a channel`
  }
  if (std.length !== channels || !std.every((value) => isNumber(value) && value >= MIN_STD)) {
    return `std [${std.join(', ')}] is not ${channels} numbers from ${MIN_STD} to ${MAX_STATISTIC}, one a channel`
  }
  return undefined
}

/** Makes a table for each channel, byte -> (byte / 255 - mean) / std, in float64, rounded once. */
export function normalizeTables(mean: readonly number[], std: readonly number[]): Float32Array[] {
  return mean.map((m, c) => Float32Array.from({ length: 256 }, (_, byte) => (byte / 255 - m) / std[c]!))
}

/** Fills `out` with a planar image [C, H, W] of bytes, normalised by the table of each channel. */
export function normalizeInto(out: Float32Array, image: Uint8Array, tables: readonly Float32Array[]): void {
  const pixels = image.length / tables.length
  let at = 0
  for (const table of tables) {
    for (const end = at + pixels; at < end; at++) out[at] = table[image[at]!]!
  }
}
