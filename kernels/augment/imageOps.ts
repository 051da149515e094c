// Operations on planar uint8 images [channels, height, width]; each returns a new image. They give the bytes of Pillow
// (the library behind torchvision's RandAugment): nearest sampling in 16.16 fixed point, blends truncated, not rounded.

/** Returns the Rec. 601 luma of 8-bit RGB, rounded in Pillow's fixed point. */
export function luma(red: number, green: number, blue: number): number {
  return (red * 19595 + green * 38470 + blue * 7471 + 0x8000) >> 16
}

/** Blends one byte as Pillow does: `other + factor * (byte - other)` in float32, truncated and clamped to 0..255. */
function blend(byte: number, other: number, factor: number): number {
  const value = Math.fround(other + Math.fround(factor * (byte - other)))
  return value <= 0 ? 0 : value >= 255 ? 255 : Math.trunc(value)
}

/** Maps every byte, through a table of the values. */
function lookUp(image: Uint8Array, value: (byte: number) => number): Uint8Array {
  const table = new Uint8Array(256)
  for (let byte = 0; byte < 256; byte++) table[byte] = value(byte)
  const out = new Uint8Array(image.length)
  for (let i = 0; i < image.length; i++) out[i] = table[image[i]!]!
  return out
}

/** Numbers [a, b, c, d, e, f]: the output point (x, y) shows the input point (a x + b y + c, d x + e y + f). */
export type AffineMatrix = readonly [number, number, number, number, number, number]

/** The steps and the start of a matrix in 16.16 fixed point, each as x and y: from pixel to pixel, from row to row, and the first centre. */
export function fixedPoint([a, b, c, d, e, f]: AffineMatrix): [number, number, number, number, number, number] {
  const fixed = (value: number) => Math.floor(value * 65536 + 0.5)
  return [fixed(a), fixed(d), fixed(b), fixed(e), fixed(c + a * 0.5 + b * 0.5), fixed(f + d * 0.5 + e * 0.5)]
}

/**
 * Resamples with the nearest pixel, as RandAugment's published form does; pixels outside the image are 0.
 * Coordinates start at the upper left corner, and pixel centres are at halves.
 */
export function affine(image: Uint8Array, height: number, width: number, matrix: AffineMatrix): Uint8Array {
  const [stepXx, stepXy, stepYx, stepYy, startX, startY] = fixedPoint(matrix)
  let [rowX, rowY] = [startX, startY]
  const out = new Uint8Array(image.length)
  const pixels = height * width
  for (let y = 0; y < height; y++, rowX += stepYx, rowY += stepYy) {
    let atX = rowX
    let atY = rowY
    for (let to = y * width; to < (y + 1) * width; to++, atX += stepXx, atY += stepXy) {
      const fromX = atX >> 16
      const fromY = atY >> 16
      if (fromX < 0 || fromY < 0 || fromX >= width || fromY >= height) continue
      const from = fromY * width + fromX
      for (let plane = 0; plane < image.length; plane += pixels) out[plane + to] = image[plane + from]!
    }
  }
  return out
}

/** The matrix of a counter-clockwise rotation around the centre, by an angle in degrees. */
export function rotation(height: number, width: number, degrees: number): AffineMatrix {
  const angle = (-degrees * Math.PI) / 180
  const cos = Math.cos(angle)
  const sin = Math.sin(angle)
  const [x, y] = [width / 2, height / 2]
  return [cos, sin, x - (cos * x + sin * y), -sin, cos, y + (sin * x - cos * y)]
}

/** Rotates counter-clockwise around the centre by an angle in degrees. */
export function rotate(image: Uint8Array, height: number, width: number, degrees: number): Uint8Array {
  return affine(image, height, width, rotation(height, width, degrees))
}

/** Scales every pixel; factor 1 is the image. */
export function brightness(image: Uint8Array, factor: number): Uint8Array {
  const scale = Math.fround(factor)
  return lookUp(image, (byte) => blend(byte, 0, scale))
}

/** Blends with the gray version; factor 0 is gray, 1 the image. Images of one channel stay as they are. */
export function saturation(image: Uint8Array, channels: number, factor: number): Uint8Array {
  if (channels !== 3) return image
  const scale = Math.fround(factor)
  const pixels = image.length / 3
  const out = new Uint8Array(image.length)
  for (let r = 0; r < pixels; r++) {
    const [g, b] = [r + pixels, r + 2 * pixels]
    const gray = luma(image[r]!, image[g]!, image[b]!)
    out[r] = blend(image[r]!, gray, scale)
    out[g] = blend(image[g]!, gray, scale)
    out[b] = blend(image[b]!, gray, scale)
  }
  return out
}

/** Blends with the image's mean luma; factor 0 is flat, 1 the image. */
export function contrast(image: Uint8Array, channels: number, factor: number): Uint8Array {
  const scale = Math.fround(factor)
  const pixels = channels === 3 ? image.length / 3 : image.length
  let sum = 0
  for (let i = 0; i < pixels; i++) {
    sum += channels === 3 ? luma(image[i]!, image[i + pixels]!, image[i + 2 * pixels]!) : image[i]!
  }
  const mean = Math.floor(sum / pixels + 0.5)
  return lookUp(image, (byte) => blend(byte, mean, scale))
}

/** Blends with a version smoothed by the filter (1 1 1, 1 5 1, 1 1 1) / 13 inside the border; factor 0 is smooth, 1 the image. */
export function sharpness(image: Uint8Array, channels: number, height: number, width: number, factor: number): Uint8Array {
  const scale = Math.fround(factor)
  const out = image.slice()
  for (let c = 0; c < channels; c++) {
    for (let y = 1; y < height - 1; y++) {
      for (let x = 1; x < width - 1; x++) {
        const at = (c * height + y) * width + x
        let sum = 4 * image[at]!
        for (let row = at - width; row <= at + width; row += width) sum += image[row - 1]! + image[row]! + image[row + 1]!
        out[at] = blend(image[at]!, Math.round(sum / 13), scale)
      }
    }
  }
  return out
}

/** Keeps the upper `bits` bits of every byte. */
export function posterize(image: Uint8Array, bits: number): Uint8Array {
  const mask = (0xff << (8 - bits)) & 0xff
  return lookUp(image, (byte) => byte & mask)
}

/** Inverts the bytes at or above the threshold. */
export function solarize(image: Uint8Array, threshold: number): Uint8Array {
  return lookUp(image, (byte) => (byte >= threshold ? 255 - byte : byte))
}

/** Maps the bytes of each channel through a table of its own; a channel without a table stays as it is. */
function perChannel(image: Uint8Array, channels: number, table: (plane: Uint8Array) => Uint8ClampedArray | undefined) {
  const pixels = image.length / channels
  const out = image.slice()
  for (let c = 0; c < channels; c++) {
    const plane = out.subarray(c * pixels, (c + 1) * pixels)
    const lookup = table(plane)
    if (lookup) for (let i = 0; i < pixels; i++) plane[i] = lookup[plane[i]!]!
  }
  return out
}

/** The byte that autoContrast makes of one, in Pillow's float64. */
function stretched(byte: number, low: number, high: number): number {
  const scale = 255 / (high - low)
  return Math.trunc(byte * scale - low * scale)
}

/** The number of `stretchExceptions`. */
export const STRETCH_EXCEPTIONS = 12_094

/**
 * Bytes that autoContrast stretches to one less than the whole number they should become, because of rounding.
 * @returns `low << 16 | high << 8 | byte` of each, in ascending order
 */
export function stretchExceptions(): Int32Array {
  const found = new Int32Array(STRETCH_EXCEPTIONS)
  let count = 0
  for (let low = 0; low < 256; low++) {
    for (let high = low + 1; high < 256; high++) {
      for (let byte = low + 1; byte <= high; byte++) {
        const whole = (255 * (byte - low)) / (high - low)
        if (Number.isInteger(whole) && stretched(byte, low, high) < whole) found[count++] = (low << 16) | (high << 8) | byte
      }
    }
  }
  return found
}

/** Stretches each channel to the full range. */
export function autoContrast(image: Uint8Array, channels: number): Uint8Array {
  return perChannel(image, channels, (plane) => {
    let low = 255
    let high = 0
    for (const byte of plane) {
      if (byte < low) low = byte
      if (byte > high) high = byte
    }
    if (high <= low) return undefined
    const table = new Uint8ClampedArray(256)
    for (let byte = 0; byte < 256; byte++) table[byte] = stretched(byte, low, high)
    return table
  })
}

/** Equalizes each channel's histogram. */
export function equalize(image: Uint8Array, channels: number): Uint8Array {
  return perChannel(image, channels, (plane) => {
    const histogram = new Uint32Array(256)
    for (const byte of plane) histogram[byte] = histogram[byte]! + 1
    const last = histogram.findLast((count) => count > 0) ?? 0
    const step = Math.floor((plane.length - last) / 255)
    if (step === 0) return undefined
    const table = new Uint8ClampedArray(256)
    let sum = step >> 1
    for (let byte = 0; byte < 256; byte++) {
      table[byte] = Math.floor(sum / step)
      sum += histogram[byte]!
    }
    return table
  })
}
