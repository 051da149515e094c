import type { Rows } from '../rows.ts'
import type { Arrays } from '../spec.ts'
import type { LayerNormProblem } from './layerNorm.ts'
import type { LayerNormBackwardProblem, LayerNormCombineProblem } from './layerNormBackward.ts'

/** y and the saved statistics in float64. */
export function layerNormReference(problem: LayerNormProblem, arrays: Arrays): Arrays {
  const { rows, n, xOffset, xStride, eps } = problem
  const { weight, bias, y, center, rstd } = arrays
  for (let row = 0; row < rows; row++) {
    const x = arrays.x!.subarray(xOffset + row * xStride, xOffset + row * xStride + n)
    const mean = x.reduce((sum, value) => sum + value, 0) / n
    const variance = x.reduce((sum, value) => sum + (value - mean) ** 2, 0) / n
    center![row] = mean - x[0]!
    rstd![row] = Math.fround(variance) < Infinity ? 1 / Math.sqrt(variance + eps) : Number.NaN
    for (let j = 0; j < n; j++) y![row * n + j] = (x[j]! - mean) * rstd![row]! * weight![j]! + bias![j]!
  }
  return { y: y!, center: center!, rstd: rstd! }
}

/** xhat of element j of a row, from the saved statistics. */
function normalized({ xOffset, xStride }: Rows, { x, center, rstd }: Arrays, row: number, j: number): number {
  const start = xOffset + row * xStride
  return (x![start + j]! - x![start]! - center![row]!) * rstd![row]!
}

/** Where the bias's gradients begin. The distance from the weight's gradients wraps. */
function biasPlace({ weightOffset, toBias }: Pick<LayerNormCombineProblem, 'weightOffset' | 'toBias'>): number {
  return (weightOffset + toBias) % 2 ** 32
}

/** The gradient of x, and the sums over chunks of rows, in float64. */
export function layerNormBackwardReference(problem: LayerNormBackwardProblem, arrays: Arrays): Arrays {
  const { rows, n, chunks, weightOffset, input } = problem
  const biasOffset = biasPlace(problem)
  const { weight, rstd, dy, dx, sums } = arrays
  const perChunk = Math.ceil(rows / chunks)
  if (chunks > 0) {
    sums!.fill(0, weightOffset, weightOffset + chunks * n)
    sums!.fill(0, biasOffset, biasOffset + chunks * n)
  }
  for (let row = 0; row < rows; row++) {
    let meanG = 0
    let meanGX = 0
    const chunk = Math.floor(row / perChunk)
    for (let j = 0; j < n; j++) {
      const d = dy![row * n + j]!
      const xhat = normalized(problem, arrays, row, j)
      meanG += (d * weight![j]!) / n
      meanGX += (d * weight![j]! * xhat) / n
      if (chunks === 0) continue
      sums![weightOffset + chunk * n + j]! += d * xhat
      sums![biasOffset + chunk * n + j]! += d
    }
    for (let j = 0; input && j < n; j++) {
      const g = dy![row * n + j]! * weight![j]!
      dx![row * n + j] = rstd![row]! * (g - meanG - normalized(problem, arrays, row, j) * meanGX)
    }
  }
  return { dx: dx!, sums: sums! }
}

/** The sum of all chunks in float64. */
export function layerNormCombineReference(problem: LayerNormCombineProblem, { sums, gradients }: Arrays): Arrays {
  const { n, chunks, weightOffset } = problem
  const biasOffset = biasPlace(problem)
  const total = (part: number, j: number) =>
    Array.from({ length: chunks }, (_, chunk) => sums![(part * chunks + chunk) * n + j]!).reduce((sum, value) => sum + value, 0)
  for (let j = 0; j < n; j++) {
    gradients![weightOffset + j] = total(0, j)
    gradients![biasOffset + j] = total(1, j)
  }
  return { gradients: gradients! }
}
