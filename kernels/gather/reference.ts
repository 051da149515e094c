import type { Arrays } from '../spec.ts'
import type { Gather } from './gather.ts'

export function gatherReference({ count, rows, width }: Gather, { weight, indices }: Arrays): Arrays {
  const output = new Float64Array(count * width).fill(Number.NaN)
  for (let k = 0; k < count; k++) {
    const row = indices![k]!
    if (row < 0 || row >= rows) continue
    for (let d = 0; d < width; d++) output[k * width + d] = weight![row * width + d]!
  }
  return { output }
}

export function scatterAddReference({ count, rows, width }: Gather, { input, indices }: Arrays): Arrays {
  const output = new Float64Array(rows * width)
  for (let k = 0; k < count; k++) {
    const row = indices![k]!
    if (row < 0 || row >= rows) continue
    for (let d = 0; d < width; d++) output[row * width + d]! += input![k * width + d]!
  }
  return { output }
}

/** Places by (index, position). */
export function stableOrder(indices: ArrayLike<number>): number[] {
  return Array.from({ length: indices.length }, (_, k) => k).sort((a, b) => indices[a]! - indices[b]! || a - b)
}

export function sortIndicesReference(_: { count: number }, { indices }: Arrays): Arrays {
  return { order: Float64Array.from(stableOrder(indices!)) }
}
