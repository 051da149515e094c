// Operations on planar uint8 images [channels, height, width]; each returns a new image.

function mapBytes(image: Uint8Array, value: (byte: number, at: number) => number): Uint8Array {
  const out = new Uint8ClampedArray(image.length)
  for (let i = 0; i < image.length; i++) out[i] = value(image[i]!, i)
  return new Uint8Array(out.buffer)
}

/**
 * Resamples by the nearest pixel around the image's centre; outside is 0. `matrix` is [a, b, c, d, e, f]: the output
 * pixel at offset (x, y) from the centre comes from (a x + b y + c, d x + e y + f).
 */
export function affine(image: Uint8Array, channels: number, height: number, width: number, matrix: number[]): Uint8Array {
  const [a, b, c, d, e, f] = matrix as [number, number, number, number, number, number]
  const out = new Uint8Array(image.length)
  const centerX = (width - 1) / 2
  const centerY = (height - 1) / 2
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      const dx = x - centerX
      const dy = y - centerY
      const fromX = Math.round(a * dx + b * dy + c + centerX)
      const fromY = Math.round(d * dx + e * dy + f + centerY)
      if (fromX < 0 || fromY < 0 || fromX >= width || fromY >= height) continue
      for (let plane = 0; plane < channels * height; plane += height) {
        out[(plane + y) * width + x] = image[(plane + fromY) * width + fromX]!
      }
    }
  }
  return out
}

/** Rotates around the centre by an angle in degrees. */
export function rotate(image: Uint8Array, channels: number, height: number, width: number, degrees: number): Uint8Array {
  const angle = (degrees * Math.PI) / 180
  const cos = Math.cos(angle)
  const sin = Math.sin(angle)
  return affine(image, channels, height, width, [cos, -sin, 0, sin, cos, 0])
}

/** Scales every pixel; factor 1 changes nothing. */
export function brightness(image: Uint8Array, factor: number): Uint8Array {
  return mapBytes(image, (byte) => byte * factor)
}

/** Luma of each pixel [height * width]; the image itself when it has one channel. */
function luma(image: Uint8Array, channels: number): ArrayLike<number> {
  if (channels !== 3) return image
  const pixels = image.length / 3
  const out = new Float32Array(pixels)
  for (let i = 0; i < pixels; i++) out[i] = 0.299 * image[i]! + 0.587 * image[i + pixels]! + 0.114 * image[i + 2 * pixels]!
  return out
}

/** Blends with the gray version; factor 0 is gray, 1 the image. One-channel images stay as they are. */
export function saturation(image: Uint8Array, channels: number, factor: number): Uint8Array {
  if (channels !== 3) return image
  const gray = luma(image, channels)
  return mapBytes(image, (byte, at) => blend(byte, gray[at % gray.length]!, factor))
}

/** Blends with the image's mean luma; factor 0 is flat, 1 the image. */
export function contrast(image: Uint8Array, channels: number, factor: number): Uint8Array {
  const gray = luma(image, channels)
  let sum = 0
  for (let i = 0; i < gray.length; i++) sum += gray[i]!
  const mean = Math.round(sum / gray.length)
  return mapBytes(image, (byte) => blend(byte, mean, factor))
}

/** Blends with a 3x3-smoothed version (the border is kept); factor 0 is smooth, 1 the image. */
export function sharpness(image: Uint8Array, channels: number, height: number, width: number, factor: number): Uint8Array {
  const out = new Uint8ClampedArray(image)
  for (let c = 0; c < channels; c++) {
    for (let y = 1; y < height - 1; y++) {
      for (let x = 1; x < width - 1; x++) {
        const at = (c * height + y) * width + x
        let sum = 4 * image[at]!
        for (let row = at - width; row <= at + width; row += width) sum += image[row - 1]! + image[row]! + image[row + 1]!
        out[at] = blend(image[at]!, Math.round(sum / 13), factor)
      }
    }
  }
  return new Uint8Array(out.buffer)
}

function blend(byte: number, other: number, factor: number): number {
  return other + factor * (byte - other)
}

/** Keeps the upper `bits` bits of every byte. */
export function posterize(image: Uint8Array, bits: number): Uint8Array {
  const mask = (0xff << (8 - bits)) & 0xff
  return mapBytes(image, (byte) => byte & mask)
}

/** Inverts the bytes at or above the threshold. */
export function solarize(image: Uint8Array, threshold: number): Uint8Array {
  return mapBytes(image, (byte) => (byte >= threshold ? 255 - byte : byte))
}

function perChannel(image: Uint8Array, channels: number, table: (plane: Uint8Array) => ArrayLike<number> | undefined) {
  const pixels = image.length / channels
  const out = image.slice()
  for (let c = 0; c < channels; c++) {
    const plane = out.subarray(c * pixels, (c + 1) * pixels)
    const lookup = table(plane)
    if (lookup) for (let i = 0; i < pixels; i++) plane[i] = lookup[plane[i]!]!
  }
  return out
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
    return Uint8ClampedArray.from({ length: 256 }, (_, v) => Math.floor(((v - low) * 255) / (high - low)))
  })
}

/** Evens out each channel's histogram, by Pillow's rule. */
export function equalize(image: Uint8Array, channels: number): Uint8Array {
  return perChannel(image, channels, (plane) => {
    const histogram = new Uint32Array(256)
    for (const byte of plane) histogram[byte] = histogram[byte]! + 1
    const last = histogram.findLast((count) => count > 0) ?? 0
    const step = Math.floor((plane.length - last) / 255)
    if (step === 0) return undefined
    const table = new Uint8ClampedArray(256)
    let sum = step >> 1
    for (let v = 0; v < 256; v++) {
      table[v] = Math.floor(sum / step)
      sum += histogram[v]!
    }
    return table
  })
}
