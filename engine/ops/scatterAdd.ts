import { promoteTypes } from '../autograd/autocast.ts'
import { checkNoMore } from '../base/checks.ts'
import { checkTensor } from '../tensor/arguments.ts'
import type { Tensor } from '../tensor/tensor.ts'
import { checkIndex, checkSource } from './along.ts'
import { addOp } from './byIndex.ts'
import { padded } from './scatter.ts'

/**
 * Adds the elements of `src` to those of x that an index names, as PyTorch's `scatter_add`: for dim 0, out[index[i, j], j] += src[i, j].
 * Sums are exact to the rounding of float32, and the same bits in every run: integers of 64 bits add up (reproducible summation, Demmel and
 * Nguyen, IEEE Transactions on Computers 2015), or, where wide rows share an index (`broadcastTo`), rows in order, in blocks.
 * @param x any shape; float32, float16 (which computes in float32) or int32 (which wraps around)
 * @param dim negative numbers count back
 * @param index int32 of the rank of x; in other dims than `dim` it may be smaller than x. An index outside is left out
 * @param src a tensor of the shape of the index and the dtype of x
 * @returns a tensor of the shape of x
 * @throws ShapeError for another dtype or shape, or a dim that x does not have
 */
export function scatterAdd(x: Tensor, dim: number, index: Tensor, src: Tensor, ...extra: []): Tensor {
  checkTensor('scatterAdd', x)
  checkTensor('scatterAdd', index, 'the index')
  checkTensor('scatterAdd', src, 'src')
  checkNoMore('scatterAdd', extra)
  const axis = checkIndex('scatterAdd', x, dim, index)
  const [to, from] = promoteTypes([x, src]) as [Tensor, Tensor]
  checkSource('scatterAdd', to, index, from)
  const whole = padded(to, axis, index, from)
  return addOp([to, whole.index, whole.src], { dim: axis })
}
