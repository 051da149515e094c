import { optional } from './optional.ts'
import type { DecodedImage } from './types.ts'

type Sharp = typeof import('sharp')['default']

/**
 * Decodes an image file with sharp (libvips), see `Platform.decodeImage`. It applies no colour profile and no gamma, because a model is
 * trained on the numbers in the file. It changes no global setting of sharp, which the rest of the program may use too.
 */
export async function decodeImage(bytes: Uint8Array, mostPixels: number): Promise<DecodedImage> {
  const sharp = await load()
  // By default sharp fills what it warns about with gray; 'warning' makes it fail instead. It decodes the first frame of an animation.
  const open = () => sharp(bytes, { limitInputPixels: mostPixels, failOn: 'warning', ignoreIcc: true, autoOrient: true })
  const { space, depth, hasAlpha } = await open().metadata()
  const deep = depth === 'ushort'
  if (depth !== 'uchar' && !deep) throw new Error(`samples of kind ${depth}`)
  // Without the conversion to sRGB, sharp would leave out the alpha of gray images.
  const colours = space === 'b-w' && hasAlpha ? 'srgb' : space
  const image = open().toColourspace(colours)
  // Without this, sharp would convert CMYK with a printer's profile.
  if (space === 'cmyk') image.pipelineColourspace('cmyk')
  const { data, info } = await image.raw({ depth }).toBuffer({ resolveWithObject: true })
  const samples = deep ? new Uint16Array(data.buffer, data.byteOffset, data.length / 2) : data
  const raw = { samples, step: info.channels, width: info.width, height: info.height, most: deep ? 65535 : 255 }
  if (space === 'cmyk' && raw.step === 4) return inkToLight(raw)
  if (space === 'b-w' || space === 'grey16') return overBlack(raw, 1, hasAlpha)
  if (space === 'srgb' || space === 'rgb16') return overBlack(raw, 3, hasAlpha)
  throw new Error(`colours of kind ${space}`)
}

/** Reads the sides in the header of an image file, as they are stored. @throws Error when it is malformed */
export async function imageSides(bytes: Uint8Array, mostPixels: number): Promise<{ width: number; height: number }> {
  const { width, height } = await (await load())(bytes, { limitInputPixels: mostPixels }).metadata()
  return { width, height }
}

/** @throws UserError when no image can be decoded */
export async function requireDecoder(): Promise<void> {
  await load()
}

let loaded: Promise<Sharp> | undefined

/** Loads the library at the first image, so that nothing else waits for it. */
function load(): Promise<Sharp> {
  loaded ??= optional(import('sharp'), 'sharp', 'images cannot be decoded').then((module) => module.default)
  return loaded
}

/** The samples of an image: `step` for each pixel, each from 0 to `most`. */
interface Raw {
  samples: Uint8Array | Uint16Array
  step: number
  width: number
  height: number
  most: number
}

/** Converts the first `channels` samples of each pixel to 8 bits, times alpha where there is one. */
function overBlack({ samples, step, width, height, most }: Raw, channels: 1 | 3, hasAlpha: boolean): DecodedImage {
  if (!hasAlpha && step === channels && most === 255) return { data: samples as Uint8Array, channels, width, height }
  const data = new Uint8Array(width * height * channels)
  const scale = 255 / most ** (hasAlpha ? 2 : 1)
  for (let from = 0, to = 0; to < data.length; from += step) {
    const factor = scale * (hasAlpha ? samples[from + step - 1]! : 1)
    for (let c = 0; c < channels; c++) data[to++] = samples[from + c]! * factor + 0.5
  }
  return { data, channels, width, height }
}

/** Converts CMYK, where 0 is no ink, to 8-bit RGB: each colour is the light that its ink and black let through. */
function inkToLight({ samples, width, height, most }: Raw): DecodedImage {
  const data = new Uint8Array(width * height * 3)
  for (let from = 0, to = 0; to < data.length; from += 4) {
    const light = (most - samples[from + 3]!) / most
    for (let c = 0; c < 3; c++) data[to++] = (most - samples[from + c]!) * light + 0.5
  }
  return { data, channels: 3, width, height }
}
