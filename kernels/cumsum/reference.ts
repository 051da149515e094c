import type { Arrays } from '../spec.ts'
import type { CumsumProblem } from './cumsum.ts'

/** Running sums in float64; exact for int32 as long as no sum leaves its range. */
export function cumsumReference({ outer, n, inner, reverse }: CumsumProblem, { x, y }: Arrays): Arrays {
  for (let o = 0; o < outer; o++) {
    for (let i = 0; i < inner; i++) {
      let sum = 0
      for (let step = 0; step < n; step++) {
        const at = (o * n + (reverse ? n - 1 - step : step)) * inner + i
        sum += x![at]!
        y![at] = sum
      }
    }
  }
  return { y: y! }
}
