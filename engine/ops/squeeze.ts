import { checkNoMore } from '../base/checks.ts'
import { ShapeError } from '../base/errors.ts'
import { format, normalizeDim, sizeOf } from '../layout/shape.ts'
import { checkTensor } from '../tensor/arguments.ts'
import type { Tensor } from '../tensor/tensor.ts'
import { dimsOf } from './flip.ts'
import { reshape } from './shape.ts'

/**
 * Makes a view without dims of size 1. A dim that is named and has another size stays, as in PyTorch.
 * @param dims a dim or a list of dims; by default all. Negative numbers count back
 * @throws ShapeError for a dim that x does not have, or one named twice
 */
export function squeeze(x: Tensor, dims?: number | readonly number[], ...extra: []): Tensor {
  checkTensor('squeeze', x)
  checkNoMore('squeeze', extra)
  const named = dims === undefined ? undefined : dimsOf('squeeze', x, dims)
  return reshape(
    x,
    x.shape.filter((size, d) => size !== 1 || (named !== undefined && !named.includes(d))),
  )
}

/**
 * Makes a view with a new dim of size 1.
 * @param dim the place of the new dim in the result; negative numbers count back
 * @throws ShapeError for a place outside
 */
export function unsqueeze(x: Tensor, dim: number, ...extra: []): Tensor {
  checkTensor('unsqueeze', x)
  checkNoMore('unsqueeze', extra)
  return reshape(x, x.shape.toSpliced(normalizeDim('unsqueeze', dim, x.ndim + 1), 0, 1))
}

/**
 * Makes neighbouring dims one dim: a view where the strides allow that, else a copy. Rank 0 becomes [1].
 * @param start the first of them, by default the first dim
 * @param end the last of them, by default the last dim; negative numbers count back
 * @throws ShapeError for dims that x does not have, or an end before the start
 */
export function flatten(x: Tensor, start = 0, end = -1, ...extra: []): Tensor {
  checkTensor('flatten', x)
  checkNoMore('flatten', extra)
  const rank = Math.max(x.ndim, 1)
  const [first, last] = [normalizeDim('flatten', start, rank), normalizeDim('flatten', end, rank)]
  if (first > last)
    throw new ShapeError(`flatten: got dims ${start} to ${end} of ${format(x.shape)}, takes the first one first`)
  return reshape(x, x.shape.toSpliced(first, last + 1 - first, sizeOf(x.shape.slice(first, last + 1))))
}
