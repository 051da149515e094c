import { decodeImage as decode, files } from '#platform'
import { checkChoice, checkText, checkWhole, refusal } from '../../engine/base/checks.ts'
import { reason, UserError } from '../../engine/base/errors.ts'
import { luma } from '../../kernels/augment/imageOps.ts'
import { inOrder } from './inOrder.ts'
import { checkJpeg } from './jpeg.ts'
import { checkPng } from './png.ts'
import { FITS, type Fit, toSquare } from './square.ts'

/** A decoded image: planar uint8 [channels, height, width], 1 channel (gray) or 3 (RGB). */
export interface PlanarImage {
  data: Uint8Array
  channels: 1 | 3
  height: number
  width: number
}

/** Largest number of pixels of an image, so that a false header does not allocate more. */
export const MAX_PIXELS = 100_000_000

/**
 * Largest number of pixels of a side, as in JPEG and GIF; the resize filter of longer sides would take more memory than the
 * image.
 */
const MAX_LENGTH = 65_535

/** Largest number of bytes of a file: the largest image has less uncompressed, at 16 bits for each of four samples. */
const MAX_BYTES = 1_000_000_000

/** Largest number of pixels of a side after resizing: three channels of them fit into `MAX_TOTAL`. */
const MAX_SIDE = 2 ** 14

/** Largest number of bytes of all images of a call after resizing. */
const MAX_TOTAL = 2 ** 31

/** Number of files that the decoder's threads decode at once. */
export const PARALLEL = 4

/** First bytes of files of each kind; `undefined` is any byte. */
const SIGNATURES: Readonly<Record<string, readonly (number | undefined)[]>> = {
  PNG: [0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a],
  JPEG: [0xff, 0xd8, 0xff],
  GIF: [0x47, 0x49, 0x46, 0x38],
  WebP: [0x52, 0x49, 0x46, 0x46, undefined, undefined, undefined, undefined, 0x57, 0x45, 0x42, 0x50],
}

/**
 * Reads an image file as model input before normalisation: uint8 [channels, imageSize, imageSize]. Gray becomes RGB by
 * repetition, and RGB becomes gray by its luma. Values stay as they are: a dark digit on white paper does not become MNIST's white on
 * black.
 * @param fit what becomes of an image that is not square: `stretch` changes its aspect ratio, `crop` keeps the middle, as a folder of one's
 *   own images is read
 * @throws UserError in one line for a file that is missing, of another kind, corrupt, above 100 megapixels or longer than 65,535 pixels
 *   a side; ArgumentError for a path, number of channels, size or fit of a wrong kind
 */
export async function readImage(path: string, channels: number, imageSize: number, fit: Fit = 'stretch'): Promise<Uint8Array> {
  checkText('readImage', path, 'path')
  checkWhole('readImage', channels, 'channels')
  checkWhole('readImage', imageSize, 'imageSize', 1, MAX_SIDE)
  checkChoice('readImage', fit, FITS, 'fit')
  return readFitted(path, channels, imageSize, fit)
}

async function readFitted(source: string | ImageBytes, channels: number, imageSize: number, fit: Fit): Promise<Uint8Array> {
  const { name, bytes } = typeof source === 'string' ? { name: source, bytes: await readImageFile(source) } : source
  const { data, height, width } = toChannels(await decodeImage(bytes, name), channels, name)
  return toSquare(data, channels, height, width, imageSize, fit, name)
}

/** Reads the bytes of an image file. @throws UserError when they cannot be read or are too many */
export function readImageFile(path: string): Promise<Uint8Array> {
  return files.read(path, MAX_BYTES)
}

/** An image file in memory, with the name that error messages give it. */
export interface ImageBytes {
  name: string
  bytes: Uint8Array
}

/**
 * Reads image files like `readImage`, several at a time: uint8 [sources, channels, imageSize, imageSize].
 * @param sources paths, or files in memory
 * @param fit what becomes of images that are not square
 * @throws UserError for the first file that cannot be read, or when the images take more than 2 GiB
 */
export async function readImages(
  sources: readonly (string | ImageBytes)[],
  channels: number,
  imageSize: number,
  fit: Fit = 'stretch',
): Promise<Uint8Array> {
  const pixels = channels * imageSize ** 2
  const total = sources.length * pixels
  if (total > MAX_TOTAL) {
    throw new UserError(
      `${sources.length} images of ${imageSize}x${imageSize} take ${(total / 2 ** 30).toFixed(1)} GiB, more than 2; name fewer at a time`,
    )
  }
  const out = new Uint8Array(total)
  let at = 0
  for await (const result of inOrder(sources, PARALLEL, (source) => readFitted(source, channels, imageSize, fit))) {
    if (result.status === 'rejected') throw result.reason
    out.set(result.value, at)
    at += pixels
  }
  return out
}

/**
 * Decodes PNG, JPEG (CMYK and YCCK too), WebP or GIF by content, not name. It turns the image by its EXIF orientation, and takes the
 * first frame of an animation. It takes samples as they are stored, without colour profile or gamma: 16 bits are rounded to 8,
 * transparent pixels are laid over black, the value of padding too, and CMYK becomes (1 - ink) (1 - black).
 * @param where the file's name, which starts every error message
 * @throws UserError in one line for a file that is of another kind, corrupt, truncated, above 100 megapixels or longer than
 *   65,535 pixels a side; ArgumentError unless `bytes` is a Uint8Array
 */
export async function decodeImage(bytes: Uint8Array, where: string): Promise<PlanarImage> {
  if (!(bytes instanceof Uint8Array)) throw refusal('decodeImage', bytes, 'a Uint8Array')
  checkText('decodeImage', where, 'the name of the file')
  const kind = imageKind(bytes)
  if (kind === undefined) {
    const what =
      bytes.length === 0
        ? 'empty, not an image'
        : `neither ${Object.keys(SIGNATURES)
            .join(', ')
            .replace(/, (\w+)$/, ' nor $1')}`
    throw new UserError(`${where}: ${what}; give a PNG, JPEG, WebP or GIF file`)
  }
  try {
    if (kind === 'PNG') checkPng(bytes)
    if (kind === 'JPEG') checkJpeg(bytes)
    const { data, channels, width, height } = await decode(bytes, MAX_PIXELS)
    if (Math.max(width, height) > MAX_LENGTH) throw new Error(`${width}x${height} pixels`)
    return { data: toPlanar(data, channels, width * height), channels, height, width }
  } catch (error) {
    if (error instanceof UserError) throw error
    const why = firstLine(error).slice(0, 200)
    throw new UserError(`${where}: corrupt, truncated or too large ${kind} (${why}); save it again as plain PNG`)
  }
}

/** Returns the kind of an image file, such as PNG, by its first bytes; undefined for another file. */
export function imageKind(bytes: Uint8Array): string | undefined {
  return Object.keys(SIGNATURES).find((name) => startsWith(bytes, SIGNATURES[name]!))
}

/** Converts an image to the number of channels of a model: gray is repeated, RGB becomes its luma. @throws UserError when that is neither 1 nor 3 */
export function toChannels(image: PlanarImage, channels: number, where: string): PlanarImage {
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

/** Transposes bytes from [pixels, channels] to [channels, pixels]. */
function toPlanar(bytes: Uint8Array, channels: number, pixels: number): Uint8Array {
  if (channels === 1) return bytes
  const data = new Uint8Array(bytes.length)
  for (let c = 0; c < channels; c++) {
    for (let i = 0; i < pixels; i++) data[c * pixels + i] = bytes[i * channels + c]!
  }
  return data
}

/** Returns the first line of an error, since decoders repeat themselves. */
function firstLine(error: unknown): string {
  return reason(error instanceof Error ? error.message.trim().split('\n')[0] : error)
}

function startsWith(bytes: Uint8Array, signature: readonly (number | undefined)[]): boolean {
  return bytes.length >= signature.length && signature.every((byte, i) => byte === undefined || bytes[i] === byte)
}
