/** One table of 256 values a channel: byte -> (byte / 255 - mean) / std, in float64, rounded once. */
export function normalizeTables(mean: readonly number[], std: readonly number[]): Float32Array[] {
  return mean.map((m, c) => Float32Array.from({ length: 256 }, (_, byte) => (byte / 255 - m) / std[c]!))
}

/** Fills `out` with a planar image [C, H, W] of bytes, normalised by one table a channel. */
export function normalizeInto(out: Float32Array, image: Uint8Array, tables: readonly Float32Array[]): void {
  const pixels = image.length / tables.length
  let at = 0
  for (const table of tables) {
    for (const end = at + pixels; at < end; at++) out[at] = table[image[at]!]!
  }
}
