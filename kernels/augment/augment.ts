import { type Capabilities, type Constants, ceilDiv, grid1d, type KernelSpec, reads, scalars, writes } from '../spec.ts'
import source from './augment.wgsl'
import { blendTerms, STRETCH_EXCEPTIONS, stretchExceptions } from './imageOps.ts'
import { affineTable, blendFactor, MAX_MAGNITUDE, posterizeBits, solarizeThreshold } from './operations.ts'
import { byteFilter, resizesRowsFirst } from './resize.ts'

/** Random changes of training images; default none. */
export interface AugmentOptions {
  /** Zero pixels that are added on each side before a random crop to the original size. */
  cropPadding?: number
  /** Whether images are mirrored with probability 1/2. */
  flip?: boolean
  /** The number of random operations and their magnitude (0 to 30). */
  randAugment?: { n: number; magnitude: number }
}

/** The sizes and rules by which a batch of images is made. */
export interface AugmentSpec {
  channels: number
  /** Size of the stored images. */
  sourceHeight: number
  sourceWidth: number
  /** Size of the images of a batch. */
  height: number
  width: number
  /** Seed of the draws, a whole number in [0, 2^53). */
  seed: number
  /** Third word of the counter of the draws, after sample and epoch. */
  purpose: number
  options: AugmentOptions
}

/** Where the stored images and the rows of a batch lie, in words. */
export interface Places {
  /** Images of the batch. */
  count: number
  /** The first word of the first stored image. */
  start: number
  /** From one stored image to the next. */
  stride: number
  /** 1 where the images lie in the order of the batch, 0 where they are found by their sample. */
  byRow: 0 | 1
  /** From one row to the next; a row begins with sample and epoch. */
  rowWords: number
}

export interface Augment extends AugmentSpec, Places {
  slotWords: number
  /** Operations of RandAugment. */
  operations: number
  [param: string]: unknown
}

/** Most values of an image: the sum of their bytes fits 32 bits. */
const MAX_VALUES = 2 ** 24
/** Most channels with RandAugment, whose table of equalize is the work of a thread for each channel. */
const MAX_CHANNELS = 8
/** Words of a stored image [channels, height, width], whose rows are padded to whole words. */
export function imageWords(channels: number, height: number, width: number): number {
  return channels * height * Math.ceil(width / 4)
}

/** Whether the kernel makes such images; else the host does. */
export function takesImages({ channels, sourceHeight, sourceWidth, height, width, options }: AugmentSpec): boolean {
  if (channels * Math.max(sourceHeight * sourceWidth, sourceHeight * width, height * width) > MAX_VALUES) return false
  if (resizesRowsFirst(sourceHeight, sourceWidth, height, width)) return false
  return !options.randAugment || channels <= MAX_CHANNELS
}

function resizes({ sourceHeight, sourceWidth, height, width }: AugmentSpec): boolean {
  return sourceHeight !== height || sourceWidth !== width
}

/**
 * The constant tables of the kernel.
 * @param values the value of each byte in each channel [channels, 256]
 * @returns words, of which `values` are the bits of float32
 */
export function augmentTables(spec: AugmentSpec, values: readonly Float32Array[]): Int32Array<ArrayBuffer> {
  const { height, width, sourceHeight, sourceWidth, options } = spec
  const words: number[] = values.flatMap((table) => Array.from(bitsOf(table)))
  const push = (more: ArrayLike<number>) => {
    for (let i = 0; i < more.length; i++) words.push(more[i]!)
  }
  if (options.randAugment?.n) {
    const level = options.randAugment.magnitude / MAX_MAGNITUDE
    push(affineTable(height, width, level))
    for (const sign of [-1, 1] as const) push(bitsOf(blendTerms(blendFactor(level, sign))))
    push(stretchExceptions())
  }
  if (resizes(spec)) {
    for (const [from, to] of [
      [sourceWidth, width],
      [sourceHeight, height],
    ] as const) {
      const { first, weights } = byteFilter(from, to)
      push(first)
      push(weights)
    }
  }
  return Int32Array.from(words)
}

function bitsOf({ buffer, byteOffset, length }: Float32Array): Int32Array {
  return new Int32Array(buffer, byteOffset, length)
}

/** Makes the problem of a batch. */
export function augmentProblem(spec: AugmentSpec, places: Places): Augment {
  const { channels, sourceHeight, sourceWidth, height, width, seed, options } = spec
  const { cropPadding = 0, flip = false, randAugment } = options
  const { n = 0, magnitude = 0 } = randAugment ?? {}
  const level = magnitude / MAX_MAGNITUDE
  const usesScratch = n > 0 || resizes(spec)
  return {
    ...spec,
    ...places,
    slotWords: usesScratch ? imageWords(channels, Math.max(height, resizes(spec) ? sourceHeight : 0), width) : 0,
    seedLow: seed >>> 0,
    seedHigh: Math.floor(seed / 2 ** 32),
    cropPadding,
    flip: flip ? 1 : 0,
    operations: n,
    mask: (0xff << (8 - posterizeBits(level))) & 0xff,
    threshold: Math.ceil(solarizeThreshold(level)),
    exceptions: n > 0 ? STRETCH_EXCEPTIONS : 0,
    columnTaps: resizes(spec) ? byteFilter(sourceWidth, width).count : 0,
    rowTaps: resizes(spec) ? byteFilter(sourceHeight, height).count : 0,
  }
}

/** Elements of `scratch`: two slots of bytes for each image, and with RandAugment a table [channels, 258]. */
export function scratchWords({ count, channels, slotWords, operations }: Augment): number {
  return Math.max(1, count * (2 * slotWords + (operations > 0 ? 258 * channels : 0)))
}

/** Elements of `counts`: with RandAugment the statistics of each image. */
export function countWords({ count, channels, operations }: Augment): number {
  return operations > 0 ? count * (258 * channels + 1) : 1
}

/** Stages of a batch, as the kernel numbers them. */
const [COLUMNS, ROWS, FLUSH, STATISTICS, COMPOSE, FINISH] = [0, 1, 2, 3, 4, 5] as const

/** The dispatches of a batch, in order: two to resize, three for each operation of RandAugment, and one that writes the images. */
function stagesOf(problem: Augment): Augment[] {
  const { operations } = problem
  const stage = (stage: number, operation = 0): Augment => ({ ...problem, stage, operation })
  return [
    ...(resizes(problem) ? [stage(COLUMNS), stage(ROWS)] : []),
    ...Array.from({ length: operations }, (_, k) => [FLUSH, STATISTICS, COMPOSE].map((each) => stage(each, k))).flat(),
    stage(FINISH, operations),
  ]
}

/** Invocations of a workgroup: on software devices one vector, on others enough to hide the latency of loads. */
function workgroup({ software }: Capabilities): number {
  return software ? 8 : 256
}

/** Workgroups of an image: on software devices as few as keep their threads busy, since each derives the image's chain again. */
function partsOf({ count, height, width }: Augment, { WORKGROUP }: Constants): number {
  const groups = height * Math.ceil(width / 4)
  const few = WORKGROUP === 8 ? ceilDiv(16, count) : ceilDiv(groups, 1024)
  return Math.min(few, ceilDiv(groups, 64))
}

/**
 * images [count, channels, height, width]: stored bytes, picked, resized, cropped, flipped, changed by RandAugment and normalised, as
 * `hostImage` makes them, to the bit.
 */
export const augment: KernelSpec<Augment> = {
  name: 'augment',
  bindings: [
    ...reads('u32', 'bytes'),
    ...reads('i32', 'rows', 'tables'),
    { ...writes('u32', 'scratch')[0]!, scratch: true },
    { ...writes('u32', 'counts')[0]!, scratch: true },
    ...writes('f32', 'images'),
  ],
  params: [
    ...scalars('u32', 'stage', 'operation'),
    ...scalars('u32', 'count', 'channels', 'height', 'width', 'sourceHeight', 'sourceWidth', 'start', 'stride', 'byRow'),
    ...scalars('u32', 'rowWords', 'slotWords', 'seedLow', 'seedHigh', 'purpose', 'cropPadding', 'flip', 'operations'),
    ...scalars('u32', 'mask', 'threshold', 'exceptions', 'columnTaps', 'rowTaps'),
  ],
  variants: [
    {
      name: 'direct',
      source,
      constants: (problem, device) => {
        const augments = Number(problem.operations) > 0
        return {
          WORKGROUP: workgroup(device),
          AUGMENTS: augments,
          RESIZES: resizes(problem),
          WHOLE: problem.width % 4 === 0,
        }
      },
      grid: (problem, constants) => grid1d(problem.count * partsOf(problem, constants)),
    },
  ],
  launches: stagesOf,
  shapeClass: ({ count, channels, height, width, operations }) => [count, channels * height * width, Number(operations)],
  flops: ({ count, channels, height, width, operations }) => count * channels * height * width * (1 + Number(operations)),
  bytes: ({ count, channels, height, width, sourceHeight, sourceWidth }) =>
    count * channels * (4 * height * width + sourceHeight * sourceWidth),
}
