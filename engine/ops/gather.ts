import { checkNoMore } from '../base/checks.ts'
import { normalizeDim } from '../layout/shape.ts'
import { checkTensor, mismatch } from '../tensor/arguments.ts'
import type { Tensor } from '../tensor/tensor.ts'
import { checkIndex, leadingPart } from './along.ts'
import { gatherOp } from './byIndex.ts'
import { broadcastTo, reshape } from './shape.ts'
import { slice } from './slice.ts'

/**
 * Takes elements along a dim by an index of its own for every place, as PyTorch's `gather`: for dim 0, out[i, j] = x[index[i, j], j]. The
 * gradients of an element that is taken several times add up to the same bits in every run.
 * @param x any shape and dtype
 * @param dim negative numbers count back
 * @param index int32 of the rank of x; in other dims than `dim` it may be smaller than x. An index outside gives NaN (of int32 the least
 *   number) and no gradient
 * @returns a tensor of the shape of the index and the dtype of x
 * @throws ShapeError for another dtype or shape of the index, or a dim that x does not have
 */
export function gather(x: Tensor, dim: number, index: Tensor, ...extra: []): Tensor {
  checkTensor('gather', x)
  checkTensor('gather', index, 'the index')
  checkNoMore('gather', extra)
  const axis = checkIndex('gather', x, dim, index)
  const part = leadingPart(x, axis, index.shape)
  const source = part ? slice(x, part) : x
  return gatherOp([source, index], { dim: axis, shape: source.shape, unique: false })
}

/**
 * Takes whole slices of x along a dim, as PyTorch's `index_select` and NumPy's `take`.
 * @param x any shape and dtype
 * @param dim negative numbers count back
 * @param index int32 [m]. An index outside gives NaN (of int32 the least number) and no gradient
 * @returns a tensor of the shape of x with size m along the dim
 * @throws ShapeError for another index, or a dim that x does not have
 */
export function indexSelect(x: Tensor, dim: number, index: Tensor, ...extra: []): Tensor {
  checkTensor('indexSelect', x)
  checkTensor('indexSelect', index, 'the index')
  checkNoMore('indexSelect', extra)
  if (index.dtype !== 'int32' || index.ndim !== 1)
    throw mismatch('indexSelect', [x, index], 'x of any kind and an index int32 [m]')
  const axis = normalizeDim('indexSelect', dim, x.ndim)
  const line = reshape(
    index,
    x.shape.map((_, d) => (d === axis ? index.size : 1)),
  )
  return gatherOp([x, broadcastTo(line, x.shape.with(axis, index.size))], { dim: axis, shape: x.shape, unique: false })
}
