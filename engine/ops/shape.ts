import { broadcastLayout, mergeDims } from '../../kernels/layout.ts'
import { defineOp, type OpContext } from '../autograd/tape.ts'
import { checkNoMore, refusal } from '../base/checks.ts'
import { ShapeError } from '../base/errors.ts'
import { kindOf } from '../base/kind.ts'
import { broadcastShapes, checkShape, format, normalizeDim, rowMajorLayout, type Shape, sizeOf } from '../layout/shape.ts'
import { checkTensor } from '../tensor/arguments.ts'
import { type Tensor, view } from '../tensor/tensor.ts'
import { sum, sumInto } from './reduce.ts'
import { type ReduceDims, reduceDimsOf } from './reduceDims.ts'

/**
 * Returns the strides of a view with another shape of the same size, or undefined if there is no such view. Such a view exists if each dim
 * of the tensor, after dims are merged as far as the strides allow, is a product of neighbouring dims of the new shape.
 */
function reshapedStrides(t: Tensor, into: Shape): number[] | undefined {
  const merged = mergeDims(t.shape, [t.strides])
  const strides = new Array<number>(into.length).fill(1)
  let end = 0
  for (const [i, size] of merged.dims.entries()) {
    const first = end
    let product = 1
    while (product < size) product *= into[end++]!
    if (product !== size) return undefined
    for (let d = end - 1, stride = merged.strides[0]![i]!; d >= first; stride *= into[d]!, d--) strides[d] = stride
  }
  return strides
}

const reshapeOp = defineOp<[Tensor], { from: Shape; to: Shape }>({
  name: 'reshape',
  forward(_ctx, [x], { to }) {
    const strides = reshapedStrides(x, to)
    return strides ? view(x, { shape: to, strides }) : view(x.contiguous(), rowMajorLayout(to))
  },
  backward: (_ctx, grad, { from }) => [reshape(grad, from)],
  differentiableBackward: (_ctx, grad, { from }) => [reshape(grad, from)],
})

/**
 * Gives x another shape of the same size; elements keep their row-major order. The result is a view where the strides allow that, else a
 * copy.
 * @param shape one dim may be -1; it follows from the others
 * @throws ShapeError for a shape of another size, or that is no list of numbers
 */
export function reshape(x: Tensor, shape: Shape, ...extra: []): Tensor {
  checkTensor('reshape', x)
  if (!Array.isArray(shape)) throw new ShapeError(`reshape: got shape ${kindOf(shape)}, takes a list such as [2, -1]`)
  checkNoMore('reshape', extra)
  const odd = shape.findIndex((size) => typeof size !== 'number')
  if (odd >= 0) throw new ShapeError(`reshape: got ${kindOf(shape[odd])} in the shape, takes a list of numbers such as [2, -1]`)
  const known = shape.reduce((product, size) => (size === -1 ? product : product * size), 1)
  const to = shape.map((size) => (size === -1 ? x.size / known : size))
  if (
    shape.filter((size) => size === -1).length > 1 ||
    !to.every((size) => Number.isInteger(size) && size >= 1) ||
    sizeOf(to) !== x.size
  ) {
    throw new ShapeError(`reshape: ${format(x.shape)} does not fit ${format(shape)}; takes a shape of ${x.size} elements`)
  }
  checkShape('reshape', to)
  return reshapeOp([x], { from: x.shape, to })
}

const permuteOp = defineOp<[Tensor], number[]>({
  name: 'permute',
  forward(_ctx, [x], order) {
    const [shape, strides] = [x.shape, x.strides].map((list) => order.map((d) => list[d]!)) as [number[], number[]]
    return view(x, { shape, strides })
  },
  backward: (_ctx, grad, order) => [permuteBack(grad, order)],
  differentiableBackward: (_ctx, grad, order) => [permuteBack(grad, order)],
})

/** Undoes `permute`. */
function permuteBack(x: Tensor, order: readonly number[]): Tensor {
  return permute(
    x,
    order.map((_, d) => order.indexOf(d)),
  )
}

/**
 * Makes a view whose dim i is dim `order[i]` of x.
 * @param order each dim once; negative numbers count back
 * @throws ShapeError unless each dim is there once; ArgumentError when `order` is no list
 */
export function permute(x: Tensor, order: readonly number[], ...extra: []): Tensor {
  checkTensor('permute', x)
  if (!Array.isArray(order)) throw refusal('permute', order, 'a list of dims such as [1, 0]')
  checkNoMore('permute', extra)
  const dims = order.map((dim) => normalizeDim('permute', dim, x.ndim))
  if (dims.length !== x.ndim || new Set(dims).size !== dims.length) {
    throw new ShapeError(`permute: got ${format(order)}, takes each of the ${x.ndim} dims of ${format(x.shape)} once`)
  }
  return permuteOp([x], dims)
}

/** Makes a view with two dims swapped; negative numbers count back. @throws ShapeError for dims that x does not have */
export function transpose(x: Tensor, dim0: number, dim1: number, ...extra: []): Tensor {
  checkTensor('transpose', x)
  checkNoMore('transpose', extra)
  const [a, b] = [normalizeDim('transpose', dim0, x.ndim), normalizeDim('transpose', dim1, x.ndim)]
  return permuteOp(
    [x],
    x.shape.map((_, d) => (d === a ? b : d === b ? a : d)),
  )
}

const broadcastOp = defineOp<[Tensor], { from: Shape; to: Shape }>({
  name: 'broadcastTo',
  forward: (_ctx, [x], { to }) => view(x, broadcastLayout(x, to)),
  backward: (ctx, grad, { from }) => [sumToInput(ctx, 0, grad, from)],
  differentiableBackward: (_ctx, grad, { from }) => [sumTo(grad, from)],
})

/**
 * Broadcasts x by NumPy's rules: makes a view of a larger shape in which dims of size 1, and missing leading dims, repeat.
 * @throws ShapeError when x does not broadcast to the shape
 */
export function broadcastTo(x: Tensor, shape: Shape, ...extra: []): Tensor {
  checkTensor('broadcastTo', x)
  checkNoMore('broadcastTo', extra)
  checkShape('broadcastTo', shape)
  if (format(broadcastShapes('broadcastTo', x.shape, shape)) !== format(shape)) {
    throw new ShapeError(`broadcastTo: ${format(x.shape)} does not broadcast to ${format(shape)}`)
  }
  return broadcastOp([x], { from: x.shape, to: shape })
}

/** The dims of the shape `to` along which a tensor of shape `from` repeats when it is broadcast. */
function repeatedDims(from: Shape, to: Shape): number[] {
  const lead = to.length - from.length
  return to.flatMap((size, d) => (d < lead || (from[d - lead] === 1 && size !== 1) ? [d] : []))
}

/** Returns the gradient of broadcasting from `shape`: t summed over the dims that broadcasting repeats, or t itself where none repeats. */
export function sumTo(t: Tensor, shape: Shape): Tensor {
  const dims = repeatedDims(shape, t.shape)
  return dims.length === 0 ? t : reshape(sum(t, dims, true), shape)
}

/** `sumTo` as the gradient of an op's input i. If the summed dims are neighbours, the sum is written straight into `ctx.gradOut(i)`. */
export function sumToInput(ctx: OpContext, i: number, t: Tensor, shape: Shape): Tensor {
  const passes = reduceDimsOf('sumTo', t.shape, repeatedDims(shape, t.shape), true)
  const [{ start, end }] = passes as [ReduceDims]
  if (passes.length > 1 || start === end) return sumTo(t, shape)
  const out = ctx.gradOut(i)
  sumInto(out, t, start, end)
  return out
}
