import type { AxisView } from '../../kernels/axisView.ts'
import { mergeDims } from '../../kernels/layout.ts'
import type { Reduction } from '../../kernels/reduce/index.ts'
import { ShapeError } from '../base/errors.ts'
import { byName } from '../base/maps.ts'
import { DTYPES, type Dtype } from '../layout/dtype.ts'
import { byLayouts, byNumber } from '../layout/layoutMemo.ts'
import { normalizeDim, type Shape, sizeOf } from '../layout/shape.ts'
import type { TensorLayout } from '../layout/tensorLayout.ts'
import type { Bindable } from '../tensor/run.ts'
import { fromAligned, operandLayout } from '../tensor/strided.ts'
import { type Tensor, view } from '../tensor/tensor.ts'

/** One pass of a reduction over neighbouring dims. */
export interface ReduceDims {
  /** The shape of the input. */
  from: Shape
  /** The first reduced dim, and the exclusive end of the reduced dims. */
  start: number
  end: number
  /** The shape of the output. */
  shape: Shape
}

/** Views a shape as [outer, n, inner] around one of its dims; rank 0 counts as [1]. @throws ShapeError when there is no such dim */
export function axisViewOf(op: string, shape: Shape, dim: number): AxisView {
  const dims = shape.length > 0 ? shape : [1]
  const axis = normalizeDim(op, dim, dims.length)
  return { outer: sizeOf(dims.slice(0, axis)), n: dims[axis]!, inner: sizeOf(dims.slice(axis + 1)) }
}

/** Views neighbouring dims as one dim; undefined where their strides do not allow that. */
export function asOneDim(shape: Shape, strides: Shape): { size: number; stride: number } | undefined {
  const merged = mergeDims(shape, [strides])
  return merged.dims.length > 1 ? undefined : { size: sizeOf(shape), stride: merged.strides[0]![0] ?? 0 }
}

/**
 * The reduction of dims `start` to `end` (exclusive) as the kernels take it. It reads the tensor where it lies, or a row-major copy where
 * the strides do not allow that.
 */
export function reductionOf(t: Tensor, start: number, end: number): { reduction: Reduction; input: Bindable } {
  const { reduction } = reductions[t.dtype](t.layout, t.layout)(start * MOST_RANK + end)
  return reduction ? { reduction, input: fromAligned(t) } : reductionOf(t.contiguous(), start, end)
}

/** More than the dims of any tensor. */
const MOST_RANK = 2 ** 16

/** By dtype, layout and dims (start times `MOST_RANK`, plus end), the reduction, if the strides allow it. */
const reductions = byName(DTYPES, (dtype) =>
  byLayouts((layout) =>
    byNumber((dims) => ({ reduction: reductionOfLayout(layout, dtype, Math.floor(dims / MOST_RANK), dims % MOST_RANK) })),
  ),
)

function reductionOfLayout(layout: TensorLayout, dtype: Dtype, start: number, end: number): Reduction | undefined {
  const { shape, strides } = layout
  const part = (from: number, to?: number) => asOneDim(shape.slice(from, to), strides.slice(from, to))
  const [outer, along, inner] = [part(0, start), part(start, end), part(end)]
  if (!outer || !along || !inner) return undefined
  // Where neighbouring outputs lie side by side in memory, they are the inner dim, which the kernels read coalesced.
  const swap = inner.size === 1 && outer.stride === 1 && along.stride !== 1
  const [rows, columns] = swap ? [inner, outer] : [outer, inner]
  return {
    outer: rows.size,
    n: along.size,
    inner: columns.size,
    chunk: along.size,
    chunks: 1,
    offset: operandLayout(layout, dtype).offset,
    outerStride: rows.stride,
    nStride: along.stride,
    innerStride: columns.stride,
  }
}

/**
 * The passes that reduce `dims` one after another. Neighbouring dims share a pass, across dims of size 1 too. All passes but the last leave
 * their dims with size 1. Where there is nothing to reduce, one pass reduces no dims.
 * @param dims by default all
 * @throws ShapeError for a dim that does not exist, or one named twice
 */
export function reduceDimsOf(
  op: string,
  input: Shape,
  dims: number | readonly number[] | undefined,
  keepdim: boolean,
): ReduceDims[] {
  const list = dims === undefined ? input.map((_, d) => d) : [dims].flat()
  const reduced = new Set(list.map((dim) => normalizeDim(op, dim, Math.max(input.length, 1))))
  if (reduced.size !== list.length) throw new ShapeError(`${op}: dims [${list}] name a dim twice`)
  const final = input.flatMap((size, d) => (!reduced.has(d) ? [size] : keepdim ? [1] : []))
  const passes: ReduceDims[] = []
  let from: Shape = input
  for (let d = 0; d < input.length; d++) {
    if (!reduced.has(d)) continue
    let end = d + 1
    for (let next = end; next < input.length && (reduced.has(next) || input[next] === 1); next++) {
      if (reduced.has(next)) end = next + 1
    }
    const shape = from.map((size, i) => (i >= d && i < end ? 1 : size))
    passes.push({ from, start: d, end, shape })
    from = shape
    d = end - 1
  }
  if (passes.length === 0) return [{ from: input, start: 0, end: 0, shape: input }]
  passes.at(-1)!.shape = final
  return passes
}

/** Makes a view of shape `from` in which the values of the reduced tensor repeat along the reduced dims. */
export function broadcastBack(reduced: Tensor, { from, start, end }: ReduceDims): Tensor {
  const strides = reduced.strides.filter((_, d) => reduced.shape[d] !== 1)
  const repeated = from.map((size, d) => (size === 1 || (d >= start && d < end) ? 0 : strides.shift()!))
  return view(reduced, { shape: from, strides: repeated })
}

/** The number of elements that are reduced to one. */
export function lengthOf({ from, start, end }: ReduceDims): number {
  return sizeOf(from.slice(start, end))
}

/** Makes the output of a pass over dims of size 1: a view of x. */
export function withoutDims(x: Tensor, { shape }: ReduceDims): Tensor {
  const strides = x.strides.filter((_, d) => x.shape[d] !== 1)
  return view(x, { shape, strides: shape.map((size) => (size === 1 ? 0 : strides.shift()!)) })
}
