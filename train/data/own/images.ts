import { imageSides, requireDecoder, sha256 } from '#platform'
import { UserError } from '../../../engine/base/errors.ts'
import { sharedBytes } from '../files.ts'
import { decodeImage, imageKind, MAX_PIXELS, PARALLEL, readImageFile, toChannels } from '../images.ts'
import { inOrder } from '../inOrder.ts'
import { toSquare } from '../square.ts'
import type { FoundFile } from './folders.ts'

/** Largest number of bytes of the images of a data set. */
const MAX_TOTAL = 2 ** 32

/** Largest side of images that no setting gives a size. */
const LARGEST_SIDE = 64

/** Number of images whose sides choose a size. */
const SAMPLED = 1000

/** Names of broken files that are told. */
const NAMED = 3

/** An image file cannot be decoded, and `skipBroken` would leave it out. */
export class BrokenImageError extends UserError {}

export interface DecodeOptions {
  /** Pixels of a side. */
  side: number
  /** Channels; default 1 if every pixel of every image is gray, else 3. */
  channels?: number | undefined
  /** Leaves out files that cannot be decoded. */
  skipBroken?: boolean | undefined
  onProgress?: ((done: number, of: number) => void) | undefined
}

/** Decoded files. */
export interface DecodedFiles<F> {
  /** uint8 [files, channels, side, side], on shared memory if there is some. */
  images: Uint8Array
  channels: number
  /** The files that were decoded, with the SHA-256 of each. */
  files: (F & { sha256: string })[]
  /** One line that names the files that were left out. */
  leftOut?: string
}

/**
 * Decodes all files, several at a time, and crops them to squares (see `toSquare`).
 * @throws BrokenImageError in one line for the first file that is broken, unless those are left out; UserError for more than 4 GiB
 */
export async function decodeFiles<F extends FoundFile>(files: readonly F[], options: DecodeOptions): Promise<DecodedFiles<F>> {
  const { side, skipBroken = false, onProgress } = options
  const most = options.channels ?? 3
  const pixels = side * side
  const total = files.length * most * pixels
  if (total > MAX_TOTAL) {
    const size = `${files.length} images [${most}, ${side}, ${side}] take ${(total / 2 ** 30).toFixed(1)} GiB`
    throw new UserError(`${size}, more than ${MAX_TOTAL / 2 ** 30}; lower --image-size, or use fewer files`)
  }
  await requireDecoder()
  const images = allocate(total, files.length)
  const decoded: DecodedFiles<F>['files'] = []
  const broken: string[] = []
  let gray = true
  for await (const result of inOrder(files, PARALLEL, (file) => decodeFile(file, most, side))) {
    if (result.status === 'fulfilled') {
      const { image, file, isGray } = result.value
      images.set(image, decoded.length * most * pixels)
      decoded.push(file)
      gray &&= isGray
    } else if (result.reason instanceof UserError) {
      const { message } = result.reason
      if (!skipBroken) throw new BrokenImageError(`${message}; or leave out such files with --skip-broken`)
      broken.push(message)
    } else throw result.reason
    onProgress?.(decoded.length + broken.length, files.length)
  }
  const channels = options.channels ?? (gray ? 1 : 3)
  const kept = images.subarray(0, decoded.length * most * pixels)
  const leftOut = broken.length > 0 ? { leftOut: leftOutLine(broken, files.length) } : {}
  return { images: channels === most ? kept : firstChannels(kept, most, pixels), channels, files: decoded, ...leftOut }
}

function allocate(bytes: number, files: number): Uint8Array {
  try {
    return sharedBytes(bytes)
  } catch {
    const size = `${files} images take ${(bytes / 2 ** 30).toFixed(1)} GiB`
    throw new UserError(`${size}, more than this process has memory for; lower --image-size, or use fewer files`)
  }
}

/** Says how many files were left out, and why some of them. */
function leftOutLine(broken: readonly string[], of: number): string {
  const more = broken.length > NAMED ? `; and ${broken.length - NAMED} more` : ''
  return `left out ${broken.length} of ${of} files: ${broken.slice(0, NAMED).join('; ')}${more}`
}

async function decodeFile<F extends FoundFile>(file: F, channels: number, side: number) {
  const { path, wrong } = file
  if (wrong !== undefined) throw new UserError(`${path}: ${wrong}; remove it`)
  const bytes = await readImageFile(path)
  const found = await decodeImage(bytes, path)
  const { data, height, width } = toChannels(found, channels, path)
  const image = toSquare(data, channels, height, width, side, 'crop', path)
  return { image, file: { ...file, sha256: await sha256(bytes) }, isGray: found.channels === 1 || isGray(found.data) }
}

/** Whether red, green and blue are equal in all pixels. @param image planar [3, pixels] */
function isGray(image: Uint8Array): boolean {
  const pixels = image.length / 3
  for (let i = 0; i < pixels; i++) if (image[i] !== image[i + pixels] || image[i] !== image[i + 2 * pixels]) return false
  return true
}

/** Returns the first of `channels` channels of every image. */
function firstChannels(images: Uint8Array, channels: number, pixels: number): Uint8Array {
  const count = images.length / (channels * pixels)
  const out = sharedBytes(count * pixels)
  for (let i = 0; i < count; i++) out.set(images.subarray(i * channels * pixels, (i * channels + 1) * pixels), i * pixels)
  return out
}

/**
 * Chooses the size of images that no setting gives one: the median of their shorter sides, but at most 64, rounded down to a multiple. Of
 * many files a thousand are looked at, evenly spread.
 */
export async function defaultSide(files: readonly FoundFile[], multiple: number): Promise<number> {
  await requireDecoder()
  const count = Math.min(files.length, SAMPLED)
  const sample = Array.from({ length: count }, (_, i) => files[Math.floor((i * files.length) / count)]!)
  const shorter: number[] = []
  for await (const result of inOrder(sample, PARALLEL, shorterSide)) {
    // A broken file is reported when it is decoded.
    if (result.status === 'fulfilled' && result.value !== undefined) shorter.push(result.value)
  }
  const median = shorter.sort((a, b) => a - b)[(shorter.length - 1) >> 1] ?? LARGEST_SIDE
  return Math.max(1, Math.floor(Math.min(median, LARGEST_SIDE) / multiple)) * multiple
}

async function shorterSide({ path, wrong }: FoundFile): Promise<number | undefined> {
  const bytes = wrong === undefined ? await readImageFile(path) : new Uint8Array(0)
  if (imageKind(bytes) === undefined) return undefined
  const { width, height } = await imageSides(bytes, MAX_PIXELS)
  return Math.min(width, height)
}
