import type { KernelCase } from '../spec.ts'
import {
  type Augment,
  type AugmentOptions,
  type AugmentSpec,
  augmentProblem,
  augmentTables,
  countWords,
  imageWords,
  scratchWords,
} from './augment.ts'
import { STRETCH_EXCEPTIONS } from './imageOps.ts'
import { byteFilter } from './resize.ts'

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
  const words = imageWords(channels, sourceHeight, sourceWidth)
  const rowWords = byRow ? 2 + words : 2
  const places = byRow ? { start: 2, stride: rowWords, byRow: 1 as const } : { start: 0, stride: words, byRow: 0 as const }
  const problem = augmentProblem(spec, { count, rowWords, ...places })
  const image = pixels(sourceWidth)
  const taps = (size: number, to: number) => to * (1 + byteFilter(size, to).count)
  const resizes = sourceHeight !== height || sourceWidth !== width
  let tables: Int32Array | undefined
  const table = (i: number) => {
    tables ??= augmentTables(
      spec,
      Array.from({ length: channels }, (_, c) => Float32Array.from({ length: 256 }, (_, byte) => byte / 255 - 0.1 * c)),
    )
    return tables[i]!
  }
  return {
    name,
    problem,
    sizes: {
      bytes: byRow ? count * rowWords : STORED * words,
      rows: count * rowWords,
      tables:
        256 * channels +
        (options.randAugment ? 60 + 1022 + STRETCH_EXCEPTIONS : 0) +
        (resizes ? taps(sourceWidth, width) + taps(sourceHeight, height) : 0),
      scratch: scratchWords(problem),
      counts: countWords(problem),
      images: count * channels * height * width,
    },
    fills: {
      bytes: byRow ? (i) => (i % rowWords < 2 ? 0 : image((i % rowWords) - 2)) : image,
      rows: (i) =>
        i % rowWords === 0 ? (3 * Math.floor(i / rowWords)) % STORED : i % rowWords === 1 ? Math.floor(i / rowWords) + 3 : 0,
      tables: table,
    },
    tolerance: 0,
    bench,
  }
}

/** Words of images whose bytes vary slowly, some in a narrow range; the padding of rows is 0. */
function pixels(width: number): (i: number) => number {
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
  augmentCase('larger', [3, 21, 18], { from: [8, 9], options: crop }),
  augmentCase('smaller', [1, 7, 6], { from: [29, 23], options: { flip: true } }),
  augmentCase('wider alone', [2, 8, 12], { from: [8, 5] }),
  augmentCase('RandAugment 1', [3, 13, 11], { options: { randAugment: { n: 1, magnitude: 9 } }, count: 129 }),
  augmentCase('RandAugment 2', [3, 16, 16], { options: all(2), count: 257 }),
  augmentCase('RandAugment 3, gray', [1, 15, 17], { options: all(3, 30), count: 129 }),
  augmentCase('RandAugment 5', [3, 12, 12], { options: all(5, 5), count: 129, byRow: true }),
  augmentCase('RandAugment 2, two channels', [2, 9, 8], { options: all(2, 20), count: 65 }),
  augmentCase('RandAugment 2, magnitude 0', [3, 8, 8], { options: all(2, 0), count: 65 }),
  augmentCase('RandAugment 2, larger', [3, 24, 24], { from: [10, 10], options: all(2), count: 65 }),
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
