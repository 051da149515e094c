import { checkNoMore, checkWhole, refusal } from '../base/checks.ts'
import { ShapeError } from '../base/errors.ts'
import { format, normalizeDim } from '../layout/shape.ts'
import { checkTensor } from '../tensor/arguments.ts'
import type { Tensor } from '../tensor/tensor.ts'
import { slice } from './slice.ts'

/** Cuts x along an axis into views of these sizes. */
function pieces(x: Tensor, sizes: readonly number[], axis: number): Tensor[] {
  let at = 0
  return sizes.map((size) => {
    const start = at
    at += size
    return slice(
      x,
      x.shape.map((_, d) => (d === axis ? [start, start + size] : [])),
    )
  })
}

/** The sizes of the pieces of a dim in pieces of `size`, of which the last may be shorter. */
function evenly(total: number, size: number): number[] {
  return Array.from({ length: Math.ceil(total / size) }, (_, i) => Math.min(size, total - i * size))
}

/**
 * Cuts x along a dim into views.
 * @param sizes the size of every piece, of which the last may be shorter, or a list of sizes that fill the dim
 * @param dim by default the first; negative numbers count back
 * @throws ShapeError for sizes that do not fill the dim, or a dim that x does not have; ArgumentError unless sizes are whole and at least 1
 */
export function split(x: Tensor, sizes: number | readonly number[], dim = 0, ...extra: []): Tensor[] {
  checkTensor('split', x)
  checkNoMore('split', extra)
  const axis = normalizeDim('split', dim, x.ndim)
  const total = x.shape[axis]!
  if (typeof sizes === 'number') {
    checkWhole('split', sizes, 'the size')
    return pieces(x, evenly(total, sizes), axis)
  }
  if (!Array.isArray(sizes)) throw refusal('split', sizes, 'a size or a list of sizes', 'sizes')
  for (const size of sizes) checkWhole('split', size, 'a size')
  if (sizes.reduce((sum, size) => sum + size, 0) !== total) {
    throw new ShapeError(`split: sizes [${sizes}] do not fill dim ${axis} of ${format(x.shape)}`)
  }
  return pieces(x, sizes, axis)
}

/**
 * Cuts x along a dim into at most `count` views of one size, of which the last may be shorter, as PyTorch does.
 * @param count the number of pieces; where the dim does not divide so, there may be fewer
 * @param dim by default the first; negative numbers count back
 * @throws ShapeError for a dim that x does not have; ArgumentError unless `count` is a whole number of at least 1
 */
export function chunk(x: Tensor, count: number, dim = 0, ...extra: []): Tensor[] {
  checkTensor('chunk', x)
  checkNoMore('chunk', extra)
  checkWhole('chunk', count, 'the count')
  const axis = normalizeDim('chunk', dim, x.ndim)
  const total = x.shape[axis]!
  return pieces(x, evenly(total, Math.ceil(total / count)), axis)
}
