// The ops that take, place and add elements by an index along a dim. Each is the derivative of another one.
import * as kernels from '../../kernels/indexing/index.ts'
import { castDetached } from '../autograd/cast.ts'
import { defineOp } from '../autograd/tape.ts'
import type { Dtype } from '../layout/dtype.ts'
import type { Shape } from '../layout/shape.ts'
import { copyInto, fillInPlace } from '../tensor/copies.ts'
import { runBinary } from '../tensor/pointwise.ts'
import { run } from '../tensor/run.ts'
import { empty, type Tensor, view } from '../tensor/tensor.ts'
import { alongOf } from './along.ts'
import { zeros } from './create.ts'
import { sumRows } from './rowSums.ts'
import { sumByIndex } from './sumByIndex.ts'

interface Indexed {
  dim: number
  /** The shape of what is indexed. */
  shape: Shape
}

export interface Taken extends Indexed {
  /** Whether no index of a line repeats. */
  unique: boolean
  /** Whether an index outside gives 0, else NaN, or of int32 the least number. */
  zero?: boolean
}

/** The bits that stand where an index lies outside. */
const MISSING: Record<Dtype, number> = { float32: 0x7fc00000, float16: 0x7fc00000, int32: 0x80000000 }

const halfOf = ({ dtype }: Tensor) => (dtype === 'float16' ? ({ dtype: 'f16' } as const) : {})

type IndexOp<A> = (inputs: [Tensor, index: Tensor], args: A) => Tensor

/** The elements of x at an index of the shape of x but for one dim. */
export const gatherOp: IndexOp<Taken> = defineOp<[x: Tensor, index: Tensor], Taken>({
  name: 'gather',
  forward(ctx, [x, index], { dim, shape, zero = false }) {
    const { problem, bound } = alongOf(index, dim, shape[dim] ?? 1)
    const out = empty(index.shape, x.dtype, x.device)
    const missing = zero ? 0 : MISSING[x.dtype]
    run(kernels.gatherAlong, { ...problem, missing, ...halfOf(x) }, [x.contiguous(), bound, out])
    ctx.saveForBackward(index)
    return out
  },
  backward(ctx, grad, { dim, shape, unique }) {
    const index = ctx.saved[0]!
    const dx = ctx.gradOut(0)
    if (unique) placeInto(dx, grad, index, dim)
    else addInto(dx, undefined, grad, index, dim, shape)
    return [dx, undefined]
  },
  differentiableBackward(ctx, grad, { dim, shape, unique }) {
    const index = ctx.saved[0]!
    if (unique) return [placeOp([grad, index], { dim, shape }), undefined]
    const { dtype, device } = grad
    return [addOp([zeros(shape, { dtype, device }), index, grad], { dim }), undefined]
  },
})

/** Writes zeros, and the elements of `src` at an index that does not repeat, into `out`. */
function placeInto(out: Tensor, src: Tensor, index: Tensor, dim: number): void {
  const { problem, bound } = alongOf(index, dim, out.shape[dim] ?? 1)
  if (problem.m !== problem.n) fillInPlace(out, 0)
  run(kernels.scatterUnique, { ...problem, ...halfOf(out) }, [src.contiguous(), bound, out])
}

/** Zeros of a shape with the elements of `src` at an index that does not repeat within a line. */
export const placeOp: IndexOp<Indexed> = defineOp<[src: Tensor, index: Tensor], Indexed>({
  name: 'place',
  forward(ctx, [src, index], { dim, shape }) {
    const out = empty(shape, src.dtype, src.device)
    placeInto(out, src, index, dim)
    ctx.saveForBackward(index)
    return out
  },
  backward: (ctx, grad, args) => [gatherOp([grad, ctx.saved[0]!], { ...args, unique: true, zero: true }), undefined],
  differentiableBackward: (ctx, grad, args) => [
    gatherOp([grad, ctx.saved[0]!], { ...args, unique: true, zero: true }),
    undefined,
  ],
})

/** The width from which on rows that share an index are summed as rows. */
const WIDE = 8

/** Writes x, or zeros where it is missing, plus the elements of `src` at an index into `out`; all have the dtype of `out`. */
function addInto(out: Tensor, x: Tensor | undefined, src: Tensor, index: Tensor, dim: number, shape: Shape): void {
  const { problem, bound } = alongOf(index, dim, shape[dim] ?? 1)
  if (out.dtype === 'float16') {
    const sums = empty(shape, 'float32', out.device)
    const from = x && castDetached(x, 'float32').contiguous()
    sumByIndex(sums, from, castDetached(src, 'float32').contiguous(), problem, bound)
    copyInto(sums, out)
  } else if (out.dtype === 'int32') {
    if (x) copyInto(x, out)
    else fillInPlace(out, 0)
    run(kernels.scatterAddInt, problem, [src.contiguous(), bound, out])
  } else if (problem.outer === 1 && problem.indexInner === 0 && problem.inner >= WIDE) {
    // Rows share an index, so that sorting the indices costs less than adding up every element by itself.
    const indices = view(index, { shape: [problem.m], strides: [problem.indexStride] }).contiguous()
    const sums = x ? empty(shape, 'float32', out.device) : out
    sumRows(sums, src.contiguous(), indices, { count: problem.m, rows: problem.n, width: problem.inner })
    if (x) runBinary('add', x, sums, out)
  } else sumByIndex(out, x?.contiguous(), src.contiguous(), problem, bound)
}

/** x plus the elements of `src` at an index of the shape of x but for one dim. */
export const addOp = defineOp<[x: Tensor, index: Tensor, src: Tensor], { dim: number }>({
  name: 'scatterAdd',
  forward(ctx, [x, index, src], { dim }) {
    const out = empty(x.shape, x.dtype, x.device)
    addInto(out, x, src, index, dim, x.shape)
    ctx.saveForBackward(index)
    return out
  },
  backward: (ctx, grad, { dim }) => addGradients(ctx, grad, dim),
  differentiableBackward: (ctx, grad, { dim }) => addGradients(ctx, grad, dim),
})

function addGradients(ctx: { needs: readonly boolean[]; saved: readonly Tensor[] }, grad: Tensor, dim: number) {
  const [dx, dsrc] = [ctx.needs[0] ? grad : undefined, ctx.needs[2]]
  const taken = dsrc ? gatherOp([grad, ctx.saved[0]!], { dim, shape: grad.shape, unique: false, zero: true }) : undefined
  return [dx, undefined, taken]
}
