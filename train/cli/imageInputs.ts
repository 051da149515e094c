import { stat } from 'node:fs/promises'
import { join } from 'node:path'
import { UserError } from '../../engine/index.ts'
import { type ImageBytes, imageKind } from '../data/images.ts'
import { filesIn } from '../data/own/folders.ts'

/** Names of image files in a folder. */
const IMAGE_NAMES = /\.(png|jpe?g|jpe|jfif|webp|gif)$/i

/** Largest number of bytes of standard input. */
const MAX_BYTES = 1_000_000_000

/**
 * Finds the images that words name: files; all images in folders and the folders below, in the order of their names; and for `-` standard
 * input, which is an image, or a text with a path in each line.
 * @returns paths, and what standard input held
 * @throws UserError in one line for a folder without images, and for standard input that is neither
 */
export async function imageInputs(words: readonly string[]): Promise<(string | ImageBytes)[]> {
  if (words.filter((word) => word === '-').length > 1)
    throw new UserError('predict: - is standard input, which is read once; name it once')
  const found: (string | ImageBytes)[] = []
  for (const word of words) {
    const more = word === '-' ? await fromStandardInput() : await pathsOf(word)
    for (const input of more) found.push(input)
  }
  return found
}

/** Returns the images of a folder, or the path itself where it is none. */
async function pathsOf(path: string): Promise<string[]> {
  const isFolder = await stat(path).then(
    (entry) => entry.isDirectory(),
    () => false,
  )
  if (!isFolder) return [path]
  const images = (await filesIn(path)).filter(({ name }) => IMAGE_NAMES.test(name))
  if (images.length === 0)
    throw new UserError(`${path}: a folder without images; name files, or a folder of PNG, JPEG, WebP or GIF files`)
  return images.map(({ name }) => join(path, name))
}

async function fromStandardInput(): Promise<(string | ImageBytes)[]> {
  if (process.stdin.isTTY)
    throw new UserError('predict: - is standard input, which is a terminal; pipe an image or a list of paths into it')
  const pieces: Buffer[] = []
  let length = 0
  for await (const piece of process.stdin as AsyncIterable<Buffer>) {
    length += piece.length
    if (length > MAX_BYTES) throw new UserError(`-: longer than ${MAX_BYTES} bytes, which no image is; check what is piped in`)
    pieces.push(piece)
  }
  const bytes = Buffer.concat(pieces)
  if (imageKind(bytes) !== undefined) return [{ name: '-', bytes }]
  const lines = textOf(bytes)
    ?.split(/\r?\n/)
    .filter((line) => line !== '')
  if (lines === undefined || lines.length === 0)
    throw new UserError('-: neither a PNG, JPEG, WebP or GIF image nor a list of paths; pipe one of them in')
  const paths: string[] = []
  for (const line of lines) for (const path of await pathsOf(line)) paths.push(path)
  return paths
}

/** Returns bytes as text; undefined where they are none. */
function textOf(bytes: Uint8Array): string | undefined {
  if (bytes.includes(0)) return undefined
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes)
  } catch {
    return undefined
  }
}
