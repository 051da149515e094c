import type { Arrays } from '../spec.ts'
import type { EmbedSequenceBackwardProblem, EmbedSequenceProblem } from './embedSequence.ts'

/** The sequences in float64. */
export function embedSequenceReference({ images, T, D }: EmbedSequenceProblem, arrays: Arrays): Arrays {
  const { tokens, first, positions, out } = arrays
  for (let image = 0; image < images; image++) {
    for (let row = 0; row <= T; row++) {
      for (let d = 0; d < D; d++) {
        const value = row === 0 ? first![d]! : tokens![(image * T + row - 1) * D + d]!
        out![(image * (T + 1) + row) * D + d] = value + positions![row * D + d]!
      }
    }
  }
  return { out: out! }
}

/** The gradients in float64. */
export function embedSequenceBackwardReference(problem: EmbedSequenceBackwardProblem, arrays: Arrays): Arrays {
  const { images, T, D, firstOffset, toPositions } = problem
  const { dy, dtokens, sums } = arrays
  const positions = (firstOffset + toPositions) % 2 ** 32
  for (let row = 0; row <= T; row++) {
    for (let d = 0; d < D; d++) {
      let sum = 0
      for (let image = 0; image < images; image++) {
        const g = dy![(image * (T + 1) + row) * D + d]!
        sum += g
        if (row > 0) dtokens![(image * T + row - 1) * D + d] = g
      }
      sums![positions + row * D + d] = sum
      if (row === 0) sums![firstOffset + d] = sum
    }
  }
  return { dtokens: dtokens!, sums: sums! }
}
