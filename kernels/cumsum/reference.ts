import type { Arrays } from '../spec.ts'
import type { CumsumProblem } from './cumsum.ts'

/** Running sums in float64, those of a piece added to the sum before it. They are exact for int32 as long as no sum leaves its range. */
export function cumsumReference({ outer, n, inner, chunk, chunks, reverse }: CumsumProblem, { x, sums, y }: Arrays): Arrays {
  for (let o = 0; o < outer; o++) {
    for (let i = 0; i < inner; i++) {
      let sum = 0
      for (let step = 0; step < n; step++) {
        const j = reverse ? n - 1 - step : step
        const at = (o * n + j) * inner + i
        const piece = Math.floor(j / chunk)
        const begins = reverse ? j === Math.min(n, (piece + 1) * chunk) - 1 : j === piece * chunk
        const before = reverse ? piece + 1 : piece - 1
        if (begins) sum = before >= 0 && before < chunks ? sums![(o * chunks + before) * inner + i]! : 0
        sum += x![at]!
        y![at] = sum
      }
    }
  }
  return { y: y! }
}
