import { type Capabilities, ceilDiv, grid1d, type KernelSpec, reads, scalars, writes } from '../spec.ts'
import source from './augment.wgsl'
import { STRETCH_EXCEPTIONS, stretchExceptions } from './imageOps.ts'
import { affineTable, blendFactor, MAX_MAGNITUDE, posterizeBits, solarizeThreshold } from './operations.ts'
import { resizesRowsFirst } from './resize.ts'

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
  /** Whether the source is words of pixels, as `resizeImages` writes them; else it is stored bytes of the size of the batch. */
  packed: boolean
  /** Images of pixels in scratch memory, for each image. */
  slots: number
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

/** Whether the kernels make such images; else the host does. */
export function takesImages({ channels, sourceHeight, sourceWidth, height, width, options }: AugmentSpec): boolean {
  if (channels * Math.max(sourceHeight * sourceWidth, sourceHeight * width, height * width) > MAX_VALUES) return false
  if (resizesRowsFirst(sourceHeight, sourceWidth, height, width)) return false
  return !options.randAugment || channels <= MAX_CHANNELS
}

/** Whether stored images have another size than those of a batch. */
export function resizes({ sourceHeight, sourceWidth, height, width }: AugmentSpec): boolean {
  return sourceHeight !== height || sourceWidth !== width
}

/** Words of an image [channels, height, width] of which a word has up to 4 channels of a pixel, with rows of whole fours. */
export function pixelWords(channels: number, height: number, width: number): number {
  return Math.ceil(channels / 4) * height * 4 * Math.ceil(width / 4)
}

/**
 * The constant tables of the kernel.
 * @param values the value of each byte in each channel [channels, 256]
 * @returns words, of which `values` are the bits of float32
 */
export function augmentTables(spec: AugmentSpec, values: readonly Float32Array[]): Int32Array<ArrayBuffer> {
  const { height, width, options } = spec
  const words: number[] = values.flatMap((table) => Array.from(bitsOf(table)))
  const push = (more: ArrayLike<number>) => {
    for (let i = 0; i < more.length; i++) words.push(more[i]!)
  }
  if (options.randAugment?.n) {
    const level = options.randAugment.magnitude / MAX_MAGNITUDE
    push(affineTable(height, width, level))
    push(stretchExceptions())
  }
  return Int32Array.from(words)
}

function bitsOf({ buffer, byteOffset, length }: Float32Array): Int32Array {
  return new Int32Array(buffer, byteOffset, length)
}

/**
 * Makes the problem of a batch.
 * @param places of the stored images, or of the images of `resizeImages` where these are resized
 */
export function augmentProblem(spec: AugmentSpec, places: Places): Augment {
  const { channels, height, width, seed, options } = spec
  const { cropPadding = 0, flip = false, randAugment } = options
  const { n = 0, magnitude = 0 } = randAugment ?? {}
  const level = magnitude / MAX_MAGNITUDE
  const packed = resizes(spec)
  return {
    ...spec,
    ...places,
    ...(packed && { start: 0, stride: pixelWords(channels, height, width), byRow: 1 }),
    packed,
    slots: Math.min(2, Math.max(0, n - 1)),
    seedLow: seed >>> 0,
    seedHigh: Math.floor(seed / 2 ** 32),
    cropPadding,
    flip: flip ? 1 : 0,
    operations: n,
    mask: (0xff << (8 - posterizeBits(level))) & 0xff,
    threshold: Math.ceil(solarizeThreshold(level)),
    exceptions: n > 0 ? STRETCH_EXCEPTIONS : 0,
    zero: 0,
    below: blendFactor(level, -1),
    above: blendFactor(level, 1),
  }
}

/** Elements of `scratch`: with RandAugment slots of pixels for each image, and a table [channels, 258]. */
export function scratchWords({ count, channels, height, width, slots, operations }: Augment): number {
  return operations > 0 ? count * (slots * pixelWords(channels, height, width) + 258 * channels) : 1
}

/** Copies of a histogram, among which threads count. */
const COPIES = 8

/** Elements of `counts`: with RandAugment the statistics of each image. */
export function countWords({ count, channels, operations }: Augment): number {
  return operations > 0 ? count * ((COPIES * 256 + 2) * channels + 1) : 1
}

/** Stages of a batch, as the kernel numbers them. */
const [FLUSH, STATISTICS, COMPOSE, FINISH] = [0, 1, 2, 3] as const

/** The dispatches of a batch, in order: three for each operation of RandAugment, and one that writes the images. */
function stagesOf(problem: Augment): Augment[] {
  const { operations } = problem
  const stage = (stage: number, operation = 0): Augment => ({ ...problem, stage, operation })
  return [
    ...Array.from({ length: operations }, (_, k) => [FLUSH, STATISTICS, COMPOSE].map((each) => stage(each, k))).flat(),
    stage(FINISH, operations),
  ]
}

/** Invocations of a workgroup: on software devices one vector, on others enough to hide the latency of loads. */
export function workgroupOf({ software }: Capabilities): number {
  return software ? 8 : 256
}

/**
 * Workgroups of an image, each of which computes what its threads share: on software devices as few as keep their threads busy.
 * @param items pixels of an image
 */
export function partsOf(count: number, items: number, workgroup: number): number {
  const few = workgroup === 8 ? ceilDiv(16, count) : ceilDiv(items, 16 * workgroup)
  return Math.min(few, ceilDiv(items, 256))
}

/**
 * images [count, channels, height, width]: bytes, picked, cropped, flipped, changed by RandAugment and normalised, as `hostImage` makes
 * them, to the bit. Images of another size come from `resizeImages`.
 */
export const augment: KernelSpec<Augment> = {
  name: 'augment',
  bindings: [
    ...reads('u32', 'source'),
    ...reads('i32', 'rows', 'tables'),
    { ...writes('u32', 'scratch')[0]!, scratch: true },
    { ...writes('u32', 'counts')[0]!, scratch: true },
    ...writes('f32', 'images'),
  ],
  params: [
    ...scalars('u32', 'stage', 'operation'),
    ...scalars('u32', 'count', 'height', 'width', 'start', 'stride', 'byRow'),
    ...scalars('u32', 'rowWords', 'slots', 'seedLow', 'seedHigh', 'purpose', 'cropPadding', 'flip', 'operations'),
    ...scalars('u32', 'mask', 'threshold', 'exceptions', 'zero'),
    ...scalars('f32', 'below', 'above'),
  ],
  variants: [
    {
      name: 'direct',
      source,
      constants: ({ count, channels, height, width, operations, packed }, device) => {
        const WORKGROUP = workgroupOf(device)
        const alone = WORKGROUP === COPIES && partsOf(count, height * width, WORKGROUP) === 1
        return {
          WORKGROUP,
          CHANNELS: channels,
          AUGMENTS: operations > 0,
          PACKED: packed,
          WHOLE: width % 4 === 0,
          OWN_COUNTS: operations > 0 && alone,
        }
      },
      grid: ({ count, height, width }, { WORKGROUP }) => grid1d(count * partsOf(count, height * width, Number(WORKGROUP))),
    },
  ],
  launches: stagesOf,
  shapeClass: ({ count, channels, height, width, operations }) => [count, channels * height * width, operations],
  flops: ({ count, channels, height, width, operations }) => count * channels * height * width * (1 + operations),
  bytes: ({ count, channels, height, width }) => 5 * count * channels * height * width,
}
