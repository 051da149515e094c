import { convertIndexedToRgb, type DecodedPng, decode as decodePng } from 'fast-png'
import jpeg from 'jpeg-js'
import { files } from '#platform'
import { reason, UserError } from '../../engine/errors.ts'
import { luma } from './imageops.ts'
import { resizeBytes } from './resize.ts'

/** A decoded image: planar uint8 [channels, height, width], 1 channel (gray) or 3 (RGB). */
export interface PlanarImage {
  data: Uint8Array
  channels: 1 | 3
  height: number
  width: number
}

/** As many pixels as the JPEG decoder takes; a header that claims more must not allocate them. */
const MAX_PIXELS = 100_000_000

/**
 * Reads a PNG or JPEG file as model input before normalisation: uint8 [channels, imageSize, imageSize]. Gray becomes RGB by
 * repetition, RGB gray by its luma. An image that is not square is stretched, not cropped. Values are taken as they are: a
 * dark digit on white paper is not turned into MNIST's white on black.
 * @throws UserError in one line for a file that is missing, of another kind, corrupt, or above 100 megapixels
 */
export async function readImage(path: string, channels: number, imageSize: number): Promise<Uint8Array> {
  const image = toChannels(decodeImage(await files.read(path), path), channels, path)
  const { height, width } = image
  if (height === imageSize && width === imageSize) return image.data
  return resizeBytes(image.data, channels, height, width, imageSize, imageSize)
}

/**
 * Decodes PNG (any depth, palettes, both kinds of transparency) or JPEG (baseline, progressive; an EXIF rotation is not
 * applied). 16-bit samples are rounded to 8; transparent pixels are laid over black, the value that padding has too.
 * @param where the file's name, which starts every error message
 * @throws UserError in one line
 */
export function decodeImage(bytes: Uint8Array, where: string): PlanarImage {
  const isPng = startsWith(bytes, [0x89, 0x50, 0x4e, 0x47])
  if (!isPng && !startsWith(bytes, [0xff, 0xd8, 0xff])) {
    throw new UserError(`${where}: neither PNG nor JPEG; convert it to one of them`)
  }
  try {
    return isPng ? fromPng(bytes) : fromJpeg(bytes)
  } catch (error) {
    const cause = error instanceof Error && error.cause ? ` ${reason(error.cause)}` : ''
    throw new UserError(
      `${where}: corrupt or unsupported ${isPng ? 'PNG' : 'JPEG'} (${reason(error)}${cause}); save it again as plain PNG`,
    )
  }
}

/** The image with as many channels as a model takes. UserError when that is neither 1 nor 3. */
function toChannels(image: PlanarImage, channels: number, where: string): PlanarImage {
  const { data, height, width } = image
  if (channels !== 1 && channels !== 3) {
    throw new UserError(`${where}: cannot become ${channels} channels, only 1 or 3; give the model a safetensors file`)
  }
  if (image.channels === channels) return image
  const pixels = height * width
  const out = new Uint8Array(channels * pixels)
  for (let i = 0; i < pixels; i++) {
    if (channels === 1) out[i] = luma(data[i]!, data[i + pixels]!, data[i + 2 * pixels]!)
    else out[i] = out[i + pixels] = out[i + 2 * pixels] = data[i]!
  }
  return { data: out, channels, height, width }
}

function fromPng(bytes: Uint8Array): PlanarImage {
  const header = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  // Signature, then the IHDR chunk: length, type, width, height, depth, colour type, two methods, interlace.
  const [width, height, colorType, interlace] = [
    header.getUint32(16),
    header.getUint32(20),
    header.getUint8(25),
    header.getUint8(28),
  ]
  if (width === 0 || height === 0 || width * height > MAX_PIXELS) throw new Error(`${width}x${height} pixels`)
  const png = decodePng(bytes, { checkCrc: true })
  // The decoder takes such rows for whole bytes.
  if (interlace === 1 && png.depth < 8) throw new Error(`interlaced with ${png.depth} bits`)
  // Other colour types may carry a palette, too, as a suggestion.
  return colorType === 3 ? toPlanar(convertIndexedToRgb(png), png.palette![0]!.length, width, height) : fromSamples(png)
}

/** Gray or RGB samples, with an alpha channel, one transparent colour, or neither. */
function fromSamples(png: DecodedPng): PlanarImage {
  const { width, height, channels, depth, transparency: key } = png
  const samples = depth < 8 ? unpackBits(png) : png.data
  const bytes = new Uint8Array(samples.length)
  const most = 2 ** depth - 1
  for (let i = 0; i < bytes.length; i++) bytes[i] = Math.round((samples[i]! * 255) / most)
  if (key) {
    for (let i = 0; i < samples.length; i += channels) {
      if (key.every((value, c) => samples[i + c] === value)) bytes.fill(0, i, i + channels)
    }
  }
  return toPlanar(bytes, channels, width, height)
}

/** The samples of 1, 2 or 4 bits, whose rows start at whole bytes. */
function unpackBits({ data, depth, width, height }: DecodedPng): Uint8Array {
  const rowBytes = Math.ceil((width * depth) / 8)
  const out = new Uint8Array(width * height)
  for (let i = 0; i < out.length; i++) {
    const bit = (i % width) * depth
    const byte = data[Math.floor(i / width) * rowBytes + (bit >> 3)]!
    out[i] = (byte >> (8 - depth - (bit & 7))) & (2 ** depth - 1)
  }
  return out
}

function fromJpeg(bytes: Uint8Array): PlanarImage {
  // Tolerant decoding would fill what a truncated file lacks with gray.
  const { data, width, height } = jpeg.decode(bytes, { useTArray: true, formatAsRGBA: false, tolerantDecoding: false })
  return toPlanar(data, 3, width, height)
}

/** Interleaved gray, gray + alpha, RGB or RGBA -> planar, over black. */
function toPlanar(bytes: Uint8Array, samples: number, width: number, height: number): PlanarImage {
  const pixels = width * height
  if (pixels === 0 || bytes.length !== samples * pixels) throw new Error(`${bytes.length} bytes for ${width}x${height} pixels`)
  const channels = samples < 3 ? 1 : 3
  const data = new Uint8Array(channels * pixels)
  for (let i = 0; i < pixels; i++) {
    const alpha = samples > channels ? bytes[i * samples + channels]! / 255 : 1
    for (let c = 0; c < channels; c++) data[c * pixels + i] = Math.round(bytes[i * samples + c]! * alpha)
  }
  return { data, channels, height, width }
}

function startsWith(bytes: Uint8Array, magic: number[]): boolean {
  return magic.every((byte, i) => bytes[i] === byte)
}
