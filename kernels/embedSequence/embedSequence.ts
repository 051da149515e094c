import { isLong, type RowVector, rowVector, threadsFor } from '../axisView.ts'
import { branchStrides, ceilDiv, grid1d, type KernelSpec, reads, scalars, writes } from '../spec.ts'
import backward from './backward.wgsl'
import forward from './embedSequence.wgsl'

/** Sequences of T + 1 rows of D for a number of images. */
export interface SequenceShape {
  images: number
  T: number
  D: number
}

export interface EmbedSequenceProblem extends SequenceShape {
  /** The images that one thread takes. */
  each: number
}

/** The number of images for each thread of the forward kernel. A software device has few cores, and a thread finds its place once. */
export function imagesEach(software: boolean, images: number): number {
  return software ? images : Math.min(4, images)
}

/** out [images, T + 1, D]: the row `first` [D] before the tokens [images, T, D] of each image, plus `positions` [T + 1, D]. */
export const embedSequence: KernelSpec<EmbedSequenceProblem> = {
  name: 'embedSequence',
  bindings: [...reads('f32', 'tokens', 'first', 'positions'), ...writes('f32', 'out')],
  params: [branchStrides(4), ...scalars('u32', 'images', 'T', 'D', 'each')],
  variants: [
    {
      name: 'direct',
      source: forward,
      constants(problem) {
        const vector = rowVector(problem.D)
        return { WORKGROUP: threadsFor(placesOf(problem, vector)), ...vector }
      },
      grid(problem, { WORKGROUP, ROW_VEC }) {
        const perPart = ceilDiv(((problem.T + 1) * problem.D) / Number(ROW_VEC), Number(WORKGROUP))
        return grid1d(perPart * ceilDiv(problem.images, problem.each))
      },
    },
  ],
  flops: ({ images, T, D }) => images * (T + 1) * D,
  bytes: ({ images, T, D }) => 4 * (images * (2 * T + 1) * D + (T + 2) * D),
}

export interface EmbedSequenceBackwardProblem extends SequenceShape {
  firstOffset: number
  /** The distance from the gradient of the first row to that of the positions, modulo 2^32. */
  toPositions: number
}

/**
 * From dy [images, T + 1, D] the gradient of the tokens, dtokens [images, T, D], and in `sums` that of the first row [D] at `firstOffset` and
 * of the positions [T + 1, D] `toPositions` elements on. Both are in one binding because two parameters of an arena share a buffer.
 */
export const embedSequenceBackward: KernelSpec<EmbedSequenceBackwardProblem> = {
  name: 'embedSequenceBackward',
  bindings: [
    ...reads('f32', 'dy'),
    ...writes('f32', 'dtokens'),
    { name: 'sums', access: 'read_write', dtype: 'f32', offset: 'firstOffset' },
  ],
  params: [branchStrides(3), ...scalars('u32', 'images', 'T', 'D', 'firstOffset', 'toPositions')],
  variants: [
    {
      name: 'direct',
      source: backward,
      constants(problem) {
        const vector = rowVector(problem.D, problem.firstOffset, problem.toPositions)
        return { WORKGROUP: threadsFor(placesOf(problem, vector)), LONG: isLong(problem.images), ...vector }
      },
      grid: ({ T, D }, { WORKGROUP, ROW_VEC }) => grid1d(ceilDiv(((T + 1) * D) / Number(ROW_VEC), Number(WORKGROUP))),
    },
  ],
  flops: ({ images, T, D }) => images * (T + 1) * D,
  bytes: ({ images, T, D }) => 4 * (images * (2 * T + 1) * D + (T + 2) * D),
}

/** The number of Elements of a sequence. */
function placesOf({ T, D }: SequenceShape, { ROW_VEC }: RowVector): number {
  return ((T + 1) * D) / ROW_VEC
}
