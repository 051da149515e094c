import { reason, UserError } from '../base/errors.ts'
import type { DecodedImage } from './types.ts'

type Sharp = typeof import('sharp')['default']

/**
 * Decodes an image file with sharp (libvips), see `Platform.decodeImage`. Colour profiles and gamma are not applied: a model is trained on
 * the numbers that a file holds. Nothing global of sharp is set, since it may serve the rest of the program too.
 */
export async function decodeImage(bytes: Uint8Array, mostPixels: number): Promise<DecodedImage> {
  const sharp = await load()
  // The strictest setting: what a warning is about would be filled with gray. Of an animation the first frame is taken.
  const open = () => sharp(bytes, { limitInputPixels: mostPixels, failOn: 'warning', ignoreIcc: true, autoOrient: true })
  const { space, depth, hasAlpha } = await open().metadata()
  const deep = depth === 'ushort'
  if (depth !== 'uchar' && !deep) throw new Error(`samples of kind ${depth}`)
  // Of gray with alpha the library would give the gray alone.
  const colours = space === 'b-w' && hasAlpha ? 'srgb' : space
  const image = open().toColourspace(colours)
  // Without this, ink is turned into light by a printer's profile.
  if (space === 'cmyk') image.pipelineColourspace('cmyk')
  const { data, info } = await image.raw({ depth }).toBuffer({ resolveWithObject: true })
  const samples = deep ? new Uint16Array(data.buffer, data.byteOffset, data.length / 2) : data
  const raw = { samples, step: info.channels, width: info.width, height: info.height, most: deep ? 65535 : 255 }
  if (space === 'cmyk' && raw.step === 4) return inkToLight(raw)
  if (space === 'b-w' || space === 'grey16') return overBlack(raw, 1, hasAlpha)
  if (space === 'srgb' || space === 'rgb16') return overBlack(raw, 3, hasAlpha)
  throw new Error(`colours of kind ${space}`)
}

let loaded: Promise<Sharp> | undefined

/** Loads the library at the first image: nothing else of the program waits for it. */
function load(): Promise<Sharp> {
  loaded ??= import('sharp').then(
    (module) => module.default,
    (error) => {
      const why = reason(error).slice(0, 100)
      throw new UserError(`images cannot be decoded, since the package sharp does not load (${why}); run npm install sharp`)
    },
  )
  return loaded
}

/** Samples of an image, `step` of them a pixel, each from 0 to `most`. */
interface Raw {
  samples: Uint8Array | Uint16Array
  step: number
  width: number
  height: number
  most: number
}

/** The first `channels` samples of a pixel in 8 bits, times alpha where there is one. */
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

/** Cyan, magenta, yellow and black of 8 bits, 0 for no ink, to RGB: the light that colour and black let through. */
function inkToLight({ samples, width, height, most }: Raw): DecodedImage {
  const data = new Uint8Array(width * height * 3)
  for (let from = 0, to = 0; to < data.length; from += 4) {
    const light = (most - samples[from + 3]!) / most
    for (let c = 0; c < 3; c++) data[to++] = (most - samples[from + c]!) * light + 0.5
  }
  return { data, channels: 3, width, height }
}
