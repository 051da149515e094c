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

/** The positions of the indices, sorted by (index, position). */
export function stableOrder(indices: ArrayLike<number>): number[] {
  const places = Array.from({ length: indices.length }, (_, k) => k)
  return places.sort((a, b) => indices[a]! - indices[b]! || a - b)
}

export function rowStartsReference({ rows }: { rows: number }, { indices, starts }: Arrays): Arrays {
  return { starts: starts!.map((_, row) => indices!.filter((index) => index < row).length).subarray(0, rows + 1) }
}

export function scatterAddSortedReference({ rows, width }: Gather, { input, order, starts }: Arrays): Arrays {
  const output = new Float64Array(rows * width)
  for (let row = 0; row < rows; row++) {
    for (let place = starts![row]!; place < starts![row + 1]!; place++) {
      for (let d = 0; d < width; d++) output[row * width + d]! += input![order![place]! * width + d]!
    }
  }
  return { output }
}
