import { CounterRandom } from '../random/counterRandom.ts'
import type { Arrays } from '../spec.ts'
import { type Augment, imageWords, type Places, pixelWords } from './augment.ts'
import { augment } from './hostImage.ts'
import { resizeBytes } from './resize.ts'
import type { ResizeImages } from './resizeImages.ts'

export function augmentReference(problem: Augment, { source, rows, tables, images, ...rest }: Arrays): Arrays {
  const { count, channels, height, width, rowWords, seed, purpose, options, packed } = problem
  const length = packed ? pixelWords(channels, height, width) : imageWords(channels, height, width)
  const values = new Float32Array(Int32Array.from(tables!.subarray(0, 256 * channels)).buffer)
  const pixels = height * width
  for (let b = 0; b < count; b++) {
    const [sample, epoch] = [rows![b * rowWords]! >>> 0, rows![b * rowWords + 1]! >>> 0]
    const words = wordsOf(problem, source!, rows!, b, length)
    const stored = packed ? planes(words, channels, height, width) : unpackImage(words, channels * height, width)
    const image = augment(stored, channels, height, width, options, new CounterRandom(seed, [sample, epoch, purpose]))
    image.forEach((byte, i) => {
      images![b * channels * pixels + i] = values[256 * Math.floor(i / pixels) + byte]!
    })
  }
  return { images: images!, scratch: rest.scratch!, counts: rest.counts! }
}

export function resizeImagesReference(problem: ResizeImages, { bytes, rows, columns, pixels }: Arrays): Arrays {
  const { count, channels, height, width, sourceHeight, sourceWidth } = problem
  const length = pixelWords(channels, height, width)
  const rowWords = 4 * Math.ceil(width / 4)
  const size = height * rowWords
  for (let b = 0; b < count; b++) {
    const words = wordsOf(problem, bytes!, rows!, b, imageWords(channels, sourceHeight, sourceWidth))
    const stored = unpackImage(words, channels * sourceHeight, sourceWidth)
    const image = resizeBytes(stored, channels, sourceHeight, sourceWidth, height, width)
    for (let i = 0; i < length; i++) {
      const [plane, at] = [Math.floor(i / size), i % size]
      const [y, x] = [Math.floor(at / rowWords), Math.min(at % rowWords, width - 1)]
      let word = 0
      for (let c = Math.min(channels, 4 * plane + 4) - 1; c >= 4 * plane; c--)
        word = 256 * word + image[(c * height + y) * width + x]!
      pixels![b * length + i] = word
    }
  }
  return { pixels: pixels!, columns: columns! }
}

/** The words of image b of a batch. */
function wordsOf(
  { start, stride, byRow, rowWords }: Places,
  source: Float64Array,
  rows: Float64Array,
  b: number,
  length: number,
) {
  const at = start + (byRow ? b : rows[b * rowWords]! >>> 0) * stride
  return Uint32Array.from(source.subarray(at, at + length))
}

/** Takes the padding from rows of bytes in whole words. */
function unpackImage(words: Uint32Array, rows: number, width: number): Uint8Array {
  const perRow = Math.ceil(width / 4)
  return Uint8Array.from({ length: rows * width }, (_, i) => {
    const [row, x] = [Math.floor(i / width), i % width]
    return words[row * perRow + (x >> 2)]! >>> (8 * (x & 3))
  })
}

/** Takes words of pixels apart into planes. */
function planes(words: Uint32Array, channels: number, height: number, width: number): Uint8Array {
  const rowWords = 4 * Math.ceil(width / 4)
  return Uint8Array.from({ length: channels * height * width }, (_, i) => {
    const [c, y, x] = [Math.floor(i / (height * width)), Math.floor(i / width) % height, i % width]
    return words[((c >> 2) * height + y) * rowWords + x]! >>> (8 * (c & 3))
  })
}
