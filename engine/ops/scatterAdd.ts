import * as kernels from '../../kernels/indexing/index.ts'
import { promoteTypes } from '../autograd/autocast.ts'
import { cast } from '../autograd/cast.ts'
import { defineOp } from '../autograd/tape.ts'
import { checkNoMore } from '../base/checks.ts'
import { checkTensor } from '../tensor/arguments.ts'
import { copyInto } from '../tensor/copies.ts'
import { run } from '../tensor/run.ts'
import { empty, type Tensor } from '../tensor/tensor.ts'
import { alongOf, checkIndex, checkSource } from './along.ts'
import { padded } from './scatter.ts'
import { sumByIndex } from './sumByIndex.ts'

const op = defineOp<[x: Tensor, index: Tensor, src: Tensor], { dim: number }>({
  name: 'scatterAdd',
  forward(ctx, [x, index, src], { dim }) {
    const { problem, bound } = alongOf(index, dim, x.shape[dim] ?? 1)
    const out = empty(x.shape, x.dtype, x.device)
    if (x.dtype === 'int32') {
      copyInto(x, out)
      run(kernels.scatterAddInt, problem, [src.contiguous(), bound, out])
    } else sumByIndex(out, x.contiguous(), src.contiguous(), problem, bound)
    ctx.saveForBackward(index)
    return out
  },
  backward(ctx, grad, { dim }) {
    const index = ctx.saved[0]!
    const dx = ctx.needs[0] ? grad.detach() : undefined
    if (!ctx.needs[2]) return [dx, undefined, undefined]
    const { problem, bound } = alongOf(index, dim, grad.shape[dim] ?? 1)
    const dsrc = ctx.gradOut(2)
    run(kernels.gatherAlong, { ...problem, missing: 0 }, [grad.contiguous(), bound, dsrc])
    return [dx, undefined, dsrc]
  },
})

/**
 * Adds the elements of `src` to those of x that an index names, as PyTorch's `scatter_add`: for dim 0, out[index[i, j], j] += src[i, j].
 * Sums are exact to the rounding of float32, and the same bits in every run on every device: integers of 64 bits add up
 * (reproducible summation, Demmel and Nguyen, IEEE Transactions on Computers 2015).
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
  if (to.dtype !== 'float16') return op([to, whole.index, whole.src], { dim: axis })
  return cast(op([cast(to, 'float32'), whole.index, cast(whole.src, 'float32')], { dim: axis }), 'float16')
}
