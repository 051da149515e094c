import { grid1d, type KernelSpec, reads, scalars, writes } from '../spec.ts'
import { type AugmentSpec, type Places, partsOf, pixelWords, workgroupOf } from './augment.ts'
import { byteFilter } from './resize.ts'
import source from './resizeImages.wgsl'

type Sizes = Pick<AugmentSpec, 'channels' | 'sourceHeight' | 'sourceWidth' | 'height' | 'width'>

export interface ResizeImages extends Sizes, Places {
  columnTaps: number
  rowTaps: number
  [param: string]: unknown
}

/** Makes the problem of a batch of stored images at `places`. */
export function resizeImagesProblem(sizes: Sizes, places: Places): ResizeImages {
  const { channels, sourceHeight, sourceWidth, height, width } = sizes
  const [columns, rows] = [byteFilter(sourceWidth, width), byteFilter(sourceHeight, height)]
  return { channels, sourceHeight, sourceWidth, height, width, ...places, columnTaps: columns.count, rowTaps: rows.count }
}

/** The table of the kernel: first pixels and weights of columns, then those of rows. */
export function filterTable({ sourceHeight, sourceWidth, height, width }: Sizes): Int32Array<ArrayBuffer> {
  const filters = [byteFilter(sourceWidth, width), byteFilter(sourceHeight, height)]
  return Int32Array.from(filters.flatMap(({ first, weights }) => [...first, ...weights]))
}

/** Elements of `columns`: each image after the first pass. */
export function columnWords({ count, channels, sourceHeight, width }: ResizeImages): number {
  return count * pixelWords(channels, sourceHeight, width)
}

const [COLUMNS, ROWS] = [0, 1] as const

/**
 * pixels [count, planes, height, width]: stored images of bytes, picked and resized as `resizeBytes` does it, to the bit; a word has up to 4
 * channels of a pixel, the first one lowest.
 */
export const resizeImages: KernelSpec<ResizeImages> = {
  name: 'resizeImages',
  bindings: [
    ...reads('u32', 'bytes'),
    ...reads('i32', 'rows', 'filters'),
    { ...writes('u32', 'columns')[0]!, scratch: true },
    ...writes('u32', 'pixels'),
  ],
  params: scalars(
    'u32',
    ...['stage', 'count', 'height', 'width', 'sourceHeight', 'sourceWidth', 'start', 'stride', 'byRow', 'rowWords'],
    ...['columnTaps', 'rowTaps'],
  ),
  variants: [
    {
      name: 'direct',
      source,
      constants: ({ channels }, device) => ({ WORKGROUP: workgroupOf(device), CHANNELS: channels }),
      grid: ({ count, height, width, sourceHeight }, { WORKGROUP }) =>
        grid1d(count * partsOf(count, Math.max(height, sourceHeight) * width, Number(WORKGROUP))),
    },
  ],
  launches: (problem) => [COLUMNS, ROWS].map((stage) => ({ ...problem, stage })),
  shapeClass: ({ count, channels, height, width, sourceHeight, sourceWidth }) => [
    count,
    channels * height * width,
    channels * sourceHeight * sourceWidth,
  ],
  flops: ({ count, channels, height, width, sourceHeight, columnTaps, rowTaps }) =>
    2 * count * channels * width * (sourceHeight * columnTaps + height * rowTaps),
  bytes: ({ count, channels, height, width, sourceHeight, sourceWidth }) =>
    count * (channels * sourceHeight * sourceWidth + 4 * pixelWords(channels, height, width)),
}
