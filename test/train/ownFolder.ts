import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import sharp from 'sharp'
import { encodePng } from '../harness/pngFiles.ts'

/** Class names in the order in which a data set has them; one is odd on purpose. */
export const CLASSES = [
  'apple',
  'bee',
  'cat (small)',
  'dog',
  'eel',
  'fox',
  'gnu',
  'hen',
  'ibis',
  'jay',
  'koi',
  'lynx é',
] as const

/** Files of a class: PNG and JPEG in turn, gray and colour, wide and high. */
const FILES = 6

/** RGB samples of an image that shows a class by its colours. */
export function samplesOf(label: number, i: number, width: number, height: number, channels: number): Uint8Array {
  return Uint8Array.from({ length: width * height * channels }, (_, at) => {
    const [c, pixel] = [at % channels, Math.floor(at / channels)]
    const [x, y] = [pixel % width, Math.floor(pixel / width)]
    return (37 * label * (c + 1) + 5 * x + 3 * y * (1 + (label % 3)) + 11 * i) % 256
  })
}

/** Writes a folder of these classes, of mixed files that are not square; with `gray` all images are gray. */
export async function writeFolder(dir: string, { gray = false, classes = CLASSES as readonly string[] } = {}): Promise<void> {
  for (const name of classes) {
    const label = CLASSES.indexOf(name as 'bee')
    mkdirSync(join(dir, name), { recursive: true })
    for (let i = 0; i < FILES; i++) {
      const channels = gray || i % 3 === 2 ? 1 : 3
      const [width, height] = [14 + ((label + i) % 4) * 2, 14 + ((label + 2 * i) % 3) * 5]
      const samples = samplesOf(label, i, width, height, channels)
      const png = i % 2 === 0
      const bytes = png
        ? encodePng({ width, height, depth: 8, colorType: channels === 1 ? 0 : 2, samples })
        : await sharp(samples, { raw: { width, height, channels } }).jpeg({ quality: 90 }).toBuffer()
      writeFileSync(join(dir, name, `${i}.${png ? 'png' : 'JPG'}`), bytes)
    }
  }
}

/** Returns a function that makes a new folder in `work` at each call, and returns its path. */
export function folderMaker(work: string): () => string {
  let folders = 0
  return () => {
    const path = join(work, `folder-${folders++}`)
    mkdirSync(path)
    return path
  }
}

/** Writes a file with the folders that it needs. @returns its path */
export function write(path: string, bytes: Uint8Array | string): string {
  mkdirSync(join(path, '..'), { recursive: true })
  writeFileSync(path, bytes)
  return path
}

/** A PNG file of one colour, the same in all channels. */
export const flat = (value: number, width = 4, height = 4) =>
  encodePng({ width, height, depth: 8, colorType: 0, samples: new Uint8Array(width * height).fill(value) })

/** Writes a folder of two classes, `count` images each. */
export function writeTwoClasses(dir: string, count = 2): true {
  for (const name of ['a', 'b']) for (let i = 0; i < count; i++) write(join(dir, name, `${i}.png`), flat(i))
  return true
}
