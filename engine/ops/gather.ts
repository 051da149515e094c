import * as kernels from '../../kernels/indexing/index.ts'
import { castDetached } from '../autograd/cast.ts'
import { defineOp } from '../autograd/tape.ts'
import { checkNoMore } from '../base/checks.ts'
import type { Dtype } from '../layout/dtype.ts'
import { normalizeDim, type Shape } from '../layout/shape.ts'
import { checkTensor, mismatch } from '../tensor/arguments.ts'
import { copyInto, fillInPlace } from '../tensor/copies.ts'
import { run } from '../tensor/run.ts'
import { empty, type Tensor } from '../tensor/tensor.ts'
import { alongOf, checkIndex, leadingPart } from './along.ts'
import { broadcastTo, reshape } from './shape.ts'
import { slice } from './slice.ts'
import { sumByIndex } from './sumByIndex.ts'

export interface GatherArguments {
  dim: number
  shape: Shape
  /** Whether no index of a line repeats, and whether the indices of a line are all there are. */
  unique: boolean
}

/** The bits that stand where an index lies outside: NaN, or the least int32. */
const MISSING: Record<Dtype, number> = { float32: 0x7fc00000, float16: 0x7fc00000, int32: 0x80000000 }

/** The elements of x at an index of the shape of x but for one dim. `unique` promises that no index of a line repeats. */
export const gatherOp = defineOp<[x: Tensor, index: Tensor], GatherArguments>({
  name: 'gather',
  forward(ctx, [x, index], { dim, shape }) {
    const { problem, bound } = alongOf(index, dim, shape[dim] ?? 1)
    const out = empty(index.shape, x.dtype, x.device)
    const type = x.dtype === 'float16' ? ({ dtype: 'f16' } as const) : {}
    run(kernels.gatherAlong, { ...problem, missing: MISSING[x.dtype], ...type }, [x.contiguous(), bound, out])
    ctx.saveForBackward(index)
    return out
  },
  backward(ctx, dOut, { dim, shape, unique }) {
    const index = ctx.saved[0]!
    const { problem, bound } = alongOf(index, dim, shape[dim] ?? 1)
    const grad = dOut.contiguous()
    const dx = ctx.gradOut(0)
    if (unique) {
      if (problem.m !== problem.n) fillInPlace(dx, 0)
      const type = grad.dtype === 'float16' ? ({ dtype: 'f16' } as const) : {}
      run(kernels.scatterUnique, { ...problem, ...type }, [grad, bound, dx])
    } else if (dx.dtype === 'float16') {
      const sums = empty(shape, 'float32', dx.device)
      sumByIndex(sums, undefined, castDetached(grad, 'float32'), problem, bound)
      copyInto(sums, dx)
    } else sumByIndex(dx, undefined, grad, problem, bound)
    return [dx, undefined]
  },
})

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
