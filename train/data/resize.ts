/**
 * Bilinear resize with half-pixel centres; when shrinking, the triangle filter widens so that no pixel is skipped (as in
 * Pillow and torchvision's antialiased form).
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
  const columns = taps(width, toWidth)
  const rows = taps(height, toHeight)
  const middle = new Float32Array(channels * height * toWidth)
  for (let y = 0; y < channels * height; y++) {
    for (let x = 0; x < toWidth; x++) {
      const { first, weights } = columns[x]!
      let sum = 0
      for (let i = 0; i < weights.length; i++) sum += weights[i]! * source[y * width + first + i]!
      middle[y * toWidth + x] = sum
    }
  }
  const out = new Float32Array(channels * toHeight * toWidth)
  for (let c = 0; c < channels; c++) {
    for (let y = 0; y < toHeight; y++) {
      const { first, weights } = rows[y]!
      for (let x = 0; x < toWidth; x++) {
        let sum = 0
        for (let i = 0; i < weights.length; i++) sum += weights[i]! * middle[(c * height + first + i) * toWidth + x]!
        out[(c * toHeight + y) * toWidth + x] = sum
      }
    }
  }
  return out
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
  const out = resize(source, channels, height, width, toHeight, toWidth)
  return Uint8Array.from(out, (value) => Math.round(value))
}

function taps(from: number, to: number) {
  const scale = from / to
  const support = Math.max(scale, 1)
  return Array.from({ length: to }, (_, i) => {
    const center = (i + 0.5) * scale
    const first = Math.max(0, Math.floor(center - support + 0.5))
    const last = Math.min(from, Math.floor(center + support + 0.5))
    const weights = Array.from({ length: last - first }, (_, k) =>
      Math.max(0, 1 - Math.abs((first + k + 0.5 - center) / support)),
    )
    const total = weights.reduce((sum, weight) => sum + weight, 0)
    return { first, weights: weights.map((weight) => weight / total) }
  })
}
