import type { Arrays } from '../spec.ts'
import type { RmsNormBackwardProblem, RmsNormProblem } from './rmsNorm.ts'

/** y and rstd in float64. */
export function rmsNormReference({ rows, n, xOffset, xStride, eps }: RmsNormProblem, arrays: Arrays): Arrays {
  const { weight, y, rstd } = arrays
  for (let row = 0; row < rows; row++) {
    const x = arrays.x!.subarray(xOffset + row * xStride, xOffset + row * xStride + n)
    const squares = x.reduce((sum, value) => sum + value * value, 0)
    rstd![row] = Math.fround(squares) < Infinity ? 1 / Math.sqrt(squares / n + eps) : Number.NaN
    for (let j = 0; j < n; j++) y![row * n + j] = x[j]! * rstd![row]! * weight![j]!
  }
  return { y: y!, rstd: rstd! }
}

/** dx and the terms of the weight's gradient in float64. */
export function rmsNormBackwardReference(problem: RmsNormBackwardProblem, arrays: Arrays): Arrays {
  const { rows, n, xOffset, xStride } = problem
  const { weight, rstd, dy, dx, terms } = arrays
  for (let row = 0; row < rows; row++) {
    const xhat = (j: number) => arrays.x![xOffset + row * xStride + j]! * rstd![row]!
    let mean = 0
    for (let j = 0; j < n; j++) mean += (dy![row * n + j]! * weight![j]! * xhat(j)) / n
    for (let j = 0; j < n; j++) {
      const i = row * n + j
      dx![i] = rstd![row]! * (dy![i]! * weight![j]! - xhat(j) * mean)
      if (problem.terms) terms![i] = dy![i]! * xhat(j)
    }
  }
  return { dx: dx!, terms: terms! }
}
