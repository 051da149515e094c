import { pad, padProblem } from '../../kernels/copy/index.ts'
import { mergeDims } from '../../kernels/layout.ts'
import { defineOp, type OpContext } from '../autograd/tape.ts'
import { checkNoMore, refusal } from '../base/checks.ts'
import { ShapeError } from '../base/errors.ts'
import { kindOf } from '../base/kind.ts'
import { broadcastShapes, checkShape, format, normalizeDim, rowMajorStrides, type Shape, sizeOf } from '../layout/shape.ts'
import { checkTensor } from '../tensor/arguments.ts'
import { run } from '../tensor/run.ts'
import { broadcastStrides, operand } from '../tensor/strided.ts'
import { type Tensor, view } from '../tensor/tensor.ts'
import { sum, sumInto } from './reduce.ts'
import { type ReduceDims, reduceDimsOf } from './reduceDims.ts'

// Another shape

/**
 * Strides under which a view has another shape of the same size, or undefined where its elements are not spaced so: each merged dim of
 * the tensor must be a product of neighbouring dims of the new shape.
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
    if (strides) return view(x, to, strides, x.offset)
    return view(x.contiguous(), to, rowMajorStrides(to), 0)
  },
  backward: (_ctx, grad, { from }) => [reshape(grad, from)],
})

/**
 * The elements of x in row-major order under another shape: a view where the strides allow, else a copy.
 * @param shape one dim may be -1 and is computed
 * @throws ShapeError when the sizes differ
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

// Order of the dims

const permuteOp = defineOp<[Tensor], number[]>({
  name: 'permute',
  forward(_ctx, [x], order) {
    const [shape, strides] = [x.shape, x.strides].map((list) => order.map((d) => list[d]!)) as [number[], number[]]
    return view(x, shape, strides, x.offset)
  },
  backward: (_ctx, grad, order) => [
    permute(
      grad,
      order.map((_, d) => order.indexOf(d)),
    ),
  ],
})

/**
 * A view whose dim i is dim `order[i]` of x.
 * @param order each dim once; negative numbers count back
 * @throws ShapeError for anything else
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

/** A view with two dims swapped; negative numbers count back. @throws ShapeError for dims that x does not have */
export function transpose(x: Tensor, dim0: number, dim1: number, ...extra: []): Tensor {
  checkTensor('transpose', x)
  checkNoMore('transpose', extra)
  const [a, b] = [normalizeDim('transpose', dim0, x.ndim), normalizeDim('transpose', dim1, x.ndim)]
  return permuteOp(
    [x],
    x.shape.map((_, d) => (d === a ? b : d === b ? a : d)),
  )
}

// Parts

type Box = readonly (readonly [number, number])[]

const sliceOp = defineOp<[Tensor], { shape: Shape; box: Box }>({
  name: 'slice',
  forward(_ctx, [x], { box }) {
    const offset = box.reduce((sum, [start], d) => sum + start * x.strides[d]!, x.offset)
    return view(
      x,
      box.map(([start, stop]) => stop - start),
      x.strides,
      offset,
    )
  },
  backward(ctx, grad, { shape, box }) {
    const dx = ctx.gradOut(0)
    const { layout, bound } = operand(grad)
    const problem = padProblem(shape, box, layout)
    run(pad, dx.dtype === 'float16' ? { ...problem, dtype: 'f16' } : problem, [bound, dx])
    return [dx]
  },
})

/** Bounds of a slice in one dim: default the whole; negative ones count back; those outside move to the edge, as in NumPy. */
export type Range = readonly [start?: number | undefined, stop?: number | undefined]

/** @throws ArgumentError for what is no list of ranges */
function checkRanges(ranges: unknown): void {
  const takes = 'a range for each dim such as [[0, 2], [], [-1]]'
  if (!Array.isArray(ranges)) throw refusal('slice', ranges, takes)
  for (const [d, range] of ranges.entries()) {
    const bounds = range === undefined || (Array.isArray(range) && range.length <= 2)
    if (bounds && (range ?? []).every((at: unknown) => at === undefined || typeof at === 'number')) continue
    throw refusal('slice', range, `[start, stop], ${takes}`, `range ${d}`)
  }
}

/**
 * A view of the elements from start up to, not including, stop in each dim.
 * @param ranges by dim; dims without one stay whole
 * @throws ShapeError when nothing is left in a dim, or there are more ranges than dims
 */
export function slice(x: Tensor, ranges: readonly Range[], ...extra: []): Tensor {
  checkTensor('slice', x)
  checkRanges(ranges)
  checkNoMore('slice', extra)
  if (ranges.length > x.ndim) throw new ShapeError(`slice: got ${ranges.length} ranges for ${format(x.shape)}`)
  const box = x.shape.map((size, d): [number, number] => {
    const [start = 0, stop = size] = ranges[d] ?? []
    const [from, to] = [start, stop].map((at) => Math.min(Math.max(at < 0 ? at + size : at, 0), size)) as [number, number]
    if (!Number.isInteger(start) || !Number.isInteger(stop) || from >= to) {
      throw new ShapeError(`slice: ${kindOf([start, stop])} takes nothing from dim ${d} of ${format(x.shape)}`)
    }
    return [from, to]
  })
  return sliceOp([x], { shape: x.shape, box })
}

// Broadcasting

const broadcastOp = defineOp<[Tensor], { from: Shape; to: Shape }>({
  name: 'broadcastTo',
  forward: (_ctx, [x], { to }) => view(x, to, broadcastStrides(x.shape, x.strides, to), x.offset),
  backward: (ctx, grad, { from }) => [sumToInput(ctx, 0, grad, from)],
})

/** A view of a larger shape in which dims of size 1, and missing leading ones, repeat. @throws ShapeError for other shapes */
export function broadcastTo(x: Tensor, shape: Shape, ...extra: []): Tensor {
  checkTensor('broadcastTo', x)
  checkNoMore('broadcastTo', extra)
  checkShape('broadcastTo', shape)
  if (format(broadcastShapes('broadcastTo', x.shape, shape)) !== format(shape)) {
    throw new ShapeError(`broadcastTo: ${format(x.shape)} does not broadcast to ${format(shape)}`)
  }
  return broadcastOp([x], { from: x.shape, to: shape })
}

/** Dims of `from` in which the shape `to` repeats to become it. */
function repeatedDims(from: Shape, to: Shape): number[] {
  const lead = from.length - to.length
  return from.flatMap((size, d) => (d < lead || (to[d - lead] === 1 && size !== 1) ? [d] : []))
}

/** The inverse of broadcasting: t summed over the dims in which `shape` repeats. A view of t where there are none. */
export function sumTo(t: Tensor, shape: Shape): Tensor {
  const dims = repeatedDims(t.shape, shape)
  return dims.length === 0 ? t.detach() : reshape(sum(t, dims, true), shape)
}

/** `sumTo` the shape of an op's input i, as its gradient: written where that must lie, if the dims to sum are neighbours. */
export function sumToInput(ctx: OpContext, i: number, t: Tensor, shape: Shape): Tensor {
  const spans = reduceDimsOf('sumTo', t.shape, repeatedDims(t.shape, shape), true)
  const [{ start, end }] = spans as [ReduceDims]
  if (spans.length > 1 || start === end) return sumTo(t, shape)
  const out = ctx.gradOut(i)
  sumInto(out, t, start, end)
  return out
}
