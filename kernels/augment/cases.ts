import type { KernelCase } from '../spec.ts'
import {
  type Augment,
  type AugmentOptions,
  type AugmentSpec,
  augmentProblem,
  augmentTables,
  countWords,
  imageWords,
  type Places,
  pixelWords,
  scratchWords,
} from './augment.ts'
import { STRETCH_EXCEPTIONS } from './imageOps.ts'
import { columnWords, filterTable, type ResizeImages, resizeImagesProblem } from './resizeImages.ts'

/** Samples that a batch picks from. */
const STORED = 5

type Sizes = [channels: number, height: number, width: number]

interface Form {
  count?: number
  options?: AugmentOptions
  /** The size of stored images; default that of the batch. */
  from?: [height: number, width: number]
  seed?: number
  /** Whether each row carries its image. */
  byRow?: boolean
  bench?: boolean
}

function augmentCase(name: string, [channels, height, width]: Sizes, form: Form): KernelCase<Augment> {
  const { count = 7, options = {}, from = [height, width], seed = 2 ** 40 + 5, byRow = false, bench = false } = form
  const [sourceHeight, sourceWidth] = from
  const spec: AugmentSpec = { channels, height, width, sourceHeight, sourceWidth, seed, purpose: 2, options }
  const places = placesOf(imageWords(channels, height, width), count, byRow)
  const { rowWords } = places
  const problem = augmentProblem(spec, places)
  let tables: Int32Array | undefined
  const table = (i: number) => {
    tables ??= augmentTables(
      spec,
      Array.from({ length: channels }, (_, c) => Float32Array.from({ length: 256 }, (_, byte) => byte / 255 - 0.1 * c)),
    )
    return tables[i]!
  }
  const packed = count * pixelWords(channels, height, width)
  const bytes = storedBytes(channels, height, width, places, count)
  return {
    name,
    problem,
    sizes: {
      source: problem.packed ? packed : bytes.size,
      rows: count * rowWords,
      tables: 256 * channels + (options.randAugment ? 60 + STRETCH_EXCEPTIONS : 0),
      scratch: scratchWords(problem),
      counts: countWords(problem),
      images: count * channels * height * width,
    },
    fills: {
      source: problem.packed ? pixelsOf(channels, height, width) : bytes.fill,
      rows: bytes.rows,
      tables: table,
    },
    tolerance: 0,
    bench,
  }
}

function resizeCase(name: string, [channels, height, width]: Sizes, form: Form): KernelCase<ResizeImages> {
  const { count = 7, from = [height, width], byRow = false, bench = false } = form
  const [sourceHeight, sourceWidth] = from
  const places = placesOf(imageWords(channels, sourceHeight, sourceWidth), count, byRow)
  const sizes = { channels, height, width, sourceHeight, sourceWidth }
  const problem = resizeImagesProblem(sizes, places)
  const bytes = storedBytes(channels, sourceHeight, sourceWidth, places, count)
  const filters = filterTable(sizes)
  return {
    name,
    problem,
    sizes: {
      bytes: bytes.size,
      rows: count * places.rowWords,
      filters: filters.length,
      columns: columnWords(problem),
      pixels: count * pixelWords(channels, height, width),
    },
    fills: { bytes: bytes.fill, rows: bytes.rows, filters: (i) => filters[i]! },
    tolerance: 0,
    bench,
  }
}

/** Where images of `words` words lie: one after the other, or in the rows of a batch. */
function placesOf(words: number, count: number, byRow: boolean): Places {
  const rowWords = byRow ? 2 + words : 2
  return { count, rowWords, ...(byRow ? { start: 2, stride: rowWords, byRow: 1 } : { start: 0, stride: words, byRow: 0 }) }
}

/** Stored images, and the rows of a batch. */
function storedBytes(channels: number, height: number, width: number, { rowWords, byRow }: Places, count: number) {
  const image = bytesOf(width)
  return {
    size: byRow ? count * rowWords : STORED * imageWords(channels, height, width),
    fill: byRow ? (i: number) => (i % rowWords < 2 ? 0 : image((i % rowWords) - 2)) : image,
    rows: (i: number) =>
      i % rowWords === 0 ? (3 * Math.floor(i / rowWords)) % STORED : i % rowWords === 1 ? Math.floor(i / rowWords) + 3 : 0,
  }
}

/** Words of pixels [count, planes, height, width], of the bytes of stored images. */
function pixelsOf(channels: number, height: number, width: number): (i: number) => number {
  const image = bytesOf(width)
  const perRow = Math.ceil(width / 4)
  const length = pixelWords(channels, height, width)
  const rowWords = 4 * perRow
  const size = height * rowWords
  return (i) => {
    const [b, plane] = [Math.floor(i / length), Math.floor((i % length) / size)]
    const [y, x] = [Math.floor((i % size) / rowWords), Math.min(i % rowWords, width - 1)]
    let word = 0
    for (let c = Math.min(channels, 4 * plane + 4) - 1; c >= 4 * plane; c--) {
      const four = image(((b * channels + c) * height + y) * perRow + (x >> 2))
      word = 256 * word + ((four >>> (8 * (x & 3))) & 255)
    }
    return word
  }
}

/** Words of images whose bytes vary slowly, some in a narrow range; the padding of rows is 0. */
function bytesOf(width: number): (i: number) => number {
  const perRow = Math.ceil(width / 4)
  return (i) => {
    let word = 0
    for (let j = 3; j >= 0; j--) {
      const x = 4 * (i % perRow) + j
      const y = Math.floor(i / perRow)
      const byte = 40 + 12 * ((y >> 3) % 11) + (((x * x + 7 * y * x + 31 * y) >> 2) % 53)
      word = word * 256 + (x < width ? byte : 0)
    }
    return word
  }
}

const crop = { cropPadding: 2, flip: true }
/** Batches in which each operation is drawn several times, also behind each other. */
const all = (n: number, magnitude = 14): AugmentOptions => ({ ...crop, randAugment: { n, magnitude } })

export const augmentCases: KernelCase<Augment>[] = [
  augmentCase('gather', [1, 28, 28], {}),
  augmentCase('gather, one pixel', [1, 1, 1], { count: 3 }),
  augmentCase('gather, odd rows', [3, 5, 7], { seed: 0 }),
  augmentCase('crop', [3, 9, 10], { options: { cropPadding: 3 } }),
  augmentCase('crop by more than the image', [1, 3, 5], { options: { cropPadding: 5 }, count: 33 }),
  augmentCase('flip', [5, 8, 8], { options: { flip: true } }),
  augmentCase('flip, odd rows', [2, 6, 9], { options: { flip: true }, seed: 1 }),
  augmentCase('crop and flip', [3, 32, 32], { options: crop, count: 33 }),
  augmentCase('crop and flip, rows with images', [3, 13, 11], { options: crop, byRow: true }),
  augmentCase('crop and flip, resized', [3, 21, 18], { from: [8, 9], options: crop }),
  augmentCase('flip, resized, five channels', [5, 7, 6], { from: [29, 23], options: { flip: true } }),
  augmentCase('RandAugment 1', [3, 13, 11], { options: { randAugment: { n: 1, magnitude: 9 } }, count: 129 }),
  augmentCase('RandAugment 2', [3, 16, 16], { options: all(2), count: 257 }),
  augmentCase('RandAugment 3, gray', [1, 15, 17], { options: all(3, 30), count: 129 }),
  // Several workgroups share an image.
  augmentCase('RandAugment 5, few images', [3, 20, 32], { options: all(5, 5), count: 9, byRow: true }),
  augmentCase('RandAugment 2, magnitude 0', [3, 8, 8], { options: all(2, 0), count: 65 }),
  augmentCase('RandAugment 3, resized, five channels', [5, 9, 10], { from: [10, 10], options: all(3), count: 65 }),
  augmentCase('bench 32 -> 224 pixels, RandAugment 2', [3, 224, 224], {
    from: [32, 32],
    options: { cropPadding: 4, flip: true, randAugment: { n: 2, magnitude: 14 } },
    count: 64,
    bench: true,
  }),
  augmentCase('bench 224 pixels, RandAugment 2', [3, 224, 224], {
    options: { cropPadding: 4, flip: true, randAugment: { n: 2, magnitude: 14 } },
    count: 64,
    bench: true,
  }),
  augmentCase('bench 28 pixels', [1, 28, 28], { count: 64, bench: true }),
]

export const resizeImagesCases: KernelCase<ResizeImages>[] = [
  resizeCase('larger', [3, 21, 18], { from: [8, 9] }),
  resizeCase('smaller', [1, 7, 6], { from: [29, 23] }),
  resizeCase('smaller, rows with images', [3, 9, 13], { from: [10, 31], byRow: true, count: 19 }),
  resizeCase('five channels', [5, 13, 10], { from: [6, 21] }),
  resizeCase('wider alone', [2, 8, 12], { from: [8, 5] }),
  resizeCase('one pixel', [3, 1, 1], { from: [4, 3], count: 33 }),
  resizeCase('bench 32 -> 224 pixels', [3, 224, 224], { from: [32, 32], count: 64, bench: true }),
]
