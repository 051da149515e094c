import { CounterRandom } from '../random/counterRandom.ts'
import type { Arrays } from '../spec.ts'
import { type Augment, imageWords } from './augment.ts'
import { hostImage } from './hostImage.ts'

export function augmentReference(problem: Augment, { bytes, rows, tables, images, scratch, counts }: Arrays): Arrays {
  const { count, channels, height, width, sourceHeight, sourceWidth, start, stride, byRow, rowWords, seed, purpose } = problem
  const words = imageWords(channels, sourceHeight, sourceWidth)
  const values = new Float32Array(Int32Array.from(tables!.subarray(0, 256 * channels)).buffer)
  for (let b = 0; b < count; b++) {
    const [sample, epoch] = [rows![b * rowWords]! >>> 0, rows![b * rowWords + 1]! >>> 0]
    const at = start + (byRow ? b : sample) * stride
    const stored = unpackImage(Uint32Array.from(bytes!.subarray(at, at + words)), channels * sourceHeight, sourceWidth)
    const image = hostImage(stored, problem, new CounterRandom(seed, [sample, epoch, purpose]))
    const pixels = height * width
    image.forEach((byte, i) => {
      images![b * channels * pixels + i] = values[256 * Math.floor(i / pixels) + byte]!
    })
  }
  return { images: images!, scratch: scratch!, counts: counts! }
}

/** Takes the padding from rows of bytes in whole words. */
function unpackImage(words: Uint32Array, rows: number, width: number): Uint8Array {
  const perRow = Math.ceil(width / 4)
  return Uint8Array.from({ length: rows * width }, (_, i) => {
    const [row, x] = [Math.floor(i / width), i % width]
    return words[row * perRow + (x >> 2)]! >>> (8 * (x & 3))
  })
}
