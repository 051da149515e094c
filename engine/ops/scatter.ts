import * as kernels from '../../kernels/indexing/index.ts'
import { promoteTypes } from '../autograd/autocast.ts'
import { cast } from '../autograd/cast.ts'
import { defineOp } from '../autograd/tape.ts'
import { checkNoMore } from '../base/checks.ts'
import { checkOperand, checkTensor } from '../tensor/arguments.ts'
import { fillInPlace } from '../tensor/copies.ts'
import { run } from '../tensor/run.ts'
import { empty, type Tensor } from '../tensor/tensor.ts'
import { alongOf, checkIndex, checkSource } from './along.ts'
import { gatherOp } from './byIndex.ts'
import { concat } from './concat.ts'
import { full, ones } from './create.ts'
import { mul } from './elementwise.ts'
import { where } from './where.ts'

/** Grows an index, with indices that lie outside, and its source to the shape of x in all dims but `axis`. */
export function padded(x: Tensor, axis: number, index: Tensor, src: Tensor): { index: Tensor; src: Tensor } {
  let grown = { index, src }
  for (const [d, size] of x.shape.entries()) {
    const rest = size - index.shape[d]!
    if (d === axis || rest === 0) continue
    const grow = (t: Tensor, value: number) => {
      const edge = full(t.shape.with(d, rest), value, { dtype: t.dtype, device: t.device })
      return concat([t, edge], d)
    }
    grown = { index: grow(grown.index, -1), src: grow(grown.src, 0) }
  }
  return grown
}

const op = defineOp<[x: Tensor, index: Tensor, src: Tensor], { dim: number }>({
  name: 'scatter',
  forward(ctx, [x, index, src], { dim }) {
    const { problem, bound } = alongOf(index, dim, x.shape[dim] ?? 1)
    const winners = empty(x.shape, 'int32', x.device)
    fillInPlace(winners, 0)
    run(kernels.scatterWinners, problem, [bound, winners])
    const out = empty(x.shape, x.dtype, x.device)
    run(kernels.scatterPick, problem, [x.contiguous(), src.contiguous(), winners, out])
    ctx.saveForBackward(index, winners)
    return out
  },
  backward(ctx, grad, { dim }) {
    const [index, winners] = ctx.saved as [Tensor, Tensor]
    const dx = ctx.needs[0] ? where(winners, 0, grad) : undefined
    if (!ctx.needs[2]) return [dx, undefined, undefined]
    const { problem, bound } = alongOf(index, dim, grad.shape[dim] ?? 1)
    const dsrc = ctx.gradOut(2)
    run(kernels.scatterSource, problem, [grad.contiguous(), bound, winners, dsrc])
    return [dx, undefined, dsrc]
  },
  differentiableBackward(ctx, grad, { dim }) {
    const [index, winners] = ctx.saved as [Tensor, Tensor]
    const dx = ctx.needs[0] ? where(winners, 0, grad) : undefined
    if (!ctx.needs[2]) return [dx, undefined, undefined]
    // The elements that were put get the gradient of their target: 1 times it, and the others 0 times.
    const { problem, bound } = alongOf(index, dim, grad.shape[dim] ?? 1)
    const put = empty(index.shape, 'float32', grad.device)
    run(kernels.scatterSource, problem, [ones(grad.shape, { device: grad.device }), bound, winners, put])
    const taken = gatherOp([grad, index], { dim, shape: grad.shape, unique: false, zero: true })
    return [dx, undefined, mul(taken, put)]
  },
})

/**
 * Puts the elements of `src` in place of those of x that an index names, as PyTorch's `scatter`: for dim 0, out[index[i, j], j] = src[i, j].
 * Where an index repeats, the last element along the dim is put, and it alone gets a gradient.
 * @param x any shape and dtype
 * @param dim negative numbers count back
 * @param index int32 of the rank of x; in other dims than `dim` it may be smaller than x. An index outside is left out
 * @param src a number, or a tensor of the shape of the index and the dtype of x
 * @returns a tensor of the shape of x
 * @throws ShapeError for another dtype or shape, or a dim that x does not have
 */
export function scatter(x: Tensor, dim: number, index: Tensor, src: Tensor | number, ...extra: []): Tensor {
  checkTensor('scatter', x)
  checkTensor('scatter', index, 'the index')
  checkOperand('scatter', src, 'src')
  checkNoMore('scatter', extra)
  const axis = checkIndex('scatter', x, dim, index)
  const given = typeof src === 'number' ? full(index.shape, src, { dtype: x.dtype, device: x.device }) : src
  const [to, from] = promoteTypes([x, given]) as [Tensor, Tensor]
  checkSource('scatter', to, index, from)
  const whole = padded(to, axis, index, from)
  if (to.dtype !== 'float16') return op([to, whole.index, whole.src], { dim: axis })
  return cast(op([cast(to, 'float32'), whole.index, cast(whole.src, 'float32')], { dim: axis }), 'float16')
}
