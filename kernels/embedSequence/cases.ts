import type { KernelCase } from '../spec.ts'
import type { EmbedSequenceBackwardProblem, EmbedSequenceProblem } from './embedSequence.ts'

const SHAPES: readonly [images: number, T: number, D: number][] = [
  [1, 1, 1],
  [1, 16, 64],
  [3, 7, 5],
  [7, 4, 12],
  [2, 130, 33],
  [129, 3, 8],
  [600, 2, 3],
]

function forward([images, T, D]: (typeof SHAPES)[number], each: number): KernelCase<EmbedSequenceProblem> {
  return {
    name: `[${images}, ${T}, ${D}], ${each} each`,
    problem: { images, T, D, each },
    sizes: { tokens: images * T * D, first: D, positions: (T + 1) * D, out: images * (T + 1) * D },
  }
}

export const embedSequenceCases: readonly KernelCase<EmbedSequenceProblem>[] = [
  ...SHAPES.flatMap((shape) => [forward(shape, shape[0]), ...(shape[0] > 4 ? [forward(shape, 4)] : [])]),
  { ...forward([64, 196, 128], 64), name: 'bench [64, 196, 128]', bench: true },
]

function backward(
  [images, T, D]: (typeof SHAPES)[number],
  firstOffset = 0,
  positionsOffset = D,
): KernelCase<EmbedSequenceBackwardProblem> {
  return {
    name: `[${images}, ${T}, ${D}] at ${firstOffset} and ${positionsOffset}`,
    problem: { images, T, D, firstOffset, toPositions: (positionsOffset - firstOffset) >>> 0 },
    sizes: {
      dy: images * (T + 1) * D,
      dtokens: images * T * D,
      sums: Math.max(firstOffset + D, positionsOffset + (T + 1) * D),
    },
  }
}

export const embedSequenceBackwardCases: readonly KernelCase<EmbedSequenceBackwardProblem>[] = [
  ...SHAPES.map((shape) => backward(shape)),
  backward([3, 7, 12], 4, 20),
  backward([3, 7, 12], 97, 0),
  backward([3, 7, 12], 96, 0),
  { ...backward([64, 196, 128]), name: 'bench [64, 196, 128]', bench: true },
]
