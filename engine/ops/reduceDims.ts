import { mergeDims } from '../../kernels/layout.ts'
import type { Reduction } from '../../kernels/reduce/index.ts'
import { ShapeError } from '../base/errors.ts'
import { normalizeDim, type Shape, sizeOf } from '../layout/shape.ts'
import type { Bindable } from '../tensor/run.ts'
import { operand } from '../tensor/strided.ts'
import { type Tensor, view } from '../tensor/tensor.ts'

/** Dims start to end (not included) of the input become one, and the output gets `shape`. */
export interface ReduceDims {
  from: Shape
  start: number
  end: number
  shape: Shape
}

/** Neighbouring dims seen as one, or undefined where memory does not walk through them evenly. */
function asOneDim(shape: Shape, strides: Shape): { size: number; stride: number } | undefined {
  const merged = mergeDims(shape, [strides])
  return merged.dims.length > 1 ? undefined : { size: sizeOf(shape), stride: merged.strides[0]![0] ?? 0 }
}

/** The reduction of dims start to end as the kernels take it: of the tensor as it lies in memory, else of a row-major copy. */
export function reductionOf(t: Tensor, start: number, end: number): { reduction: Reduction; input: Bindable } {
  const { layout, bound } = operand(t)
  const part = (from: number, to?: number) => asOneDim(t.shape.slice(from, to), t.strides.slice(from, to))
  const [outer, along, inner] = [part(0, start), part(start, end), part(end)]
  if (!outer || !along || !inner) return reductionOf(t.contiguous(), start, end)
  // Lines side by side in memory: neighbouring outputs belong to `inner`.
  const swap = inner.size === 1 && outer.stride === 1 && along.stride !== 1
  const [rows, columns] = swap ? [inner, outer] : [outer, inner]
  return {
    reduction: {
      outer: rows.size,
      n: along.size,
      inner: columns.size,
      chunk: along.size,
      chunks: 1,
      offset: layout.offset,
      outerStride: rows.stride,
      nStride: along.stride,
      innerStride: columns.stride,
    },
    input: bound,
  }
}

/**
 * The spans that reduce `dims` (undefined: all) one after the other: neighbouring dims are one span, dims of size 1 between them
 * do not count. All spans but the last keep their dims as 1; where nothing is to reduce there is one empty span.
 * @throws ShapeError for a dim that does not exist, or one named twice
 */
export function reduceDimsOf(
  op: string,
  given: Shape,
  dims: number | readonly number[] | undefined,
  keepdim: boolean,
): ReduceDims[] {
  const list = dims === undefined ? given.map((_, d) => d) : [dims].flat()
  const reduced = new Set(list.map((dim) => normalizeDim(op, dim, Math.max(given.length, 1))))
  if (reduced.size !== list.length) throw new ShapeError(`${op}: dims [${list}] name a dim twice`)
  const final = given.flatMap((size, d) => (!reduced.has(d) ? [size] : keepdim ? [1] : []))
  const spans: ReduceDims[] = []
  let from: Shape = given
  for (let d = 0; d < given.length; d++) {
    if (!reduced.has(d)) continue
    let end = d + 1
    for (let next = end; next < given.length && (reduced.has(next) || given[next] === 1); next++) {
      if (reduced.has(next)) end = next + 1
    }
    const shape = from.map((size, i) => (i >= d && i < end ? 1 : size))
    spans.push({ from, start: d, end, shape })
    from = shape
    d = end - 1
  }
  if (spans.length === 0) return [{ from: given, start: 0, end: 0, shape: given }]
  spans.at(-1)!.shape = final
  return spans
}

/** A view of `from` in which the dims of a span repeat what the reduced tensor holds. */
export function broadcastBack(reduced: Tensor, { from, start, end }: ReduceDims): Tensor {
  const strides = reduced.strides.filter((_, d) => reduced.shape[d] !== 1)
  const repeated = from.map((size, d) => (size === 1 || (d >= start && d < end) ? 0 : strides.shift()!))
  return view(reduced, from, repeated, reduced.offset)
}

/** The number of elements that become one. */
export function lengthOf({ from, start, end }: ReduceDims): number {
  return sizeOf(from.slice(start, end))
}

/** The span's result as a view of x, where the reduced dims have size 1. */
export function dropped(x: Tensor, { shape }: ReduceDims): Tensor {
  const strides = x.strides.filter((_, d) => x.shape[d] !== 1)
  return view(
    x,
    shape,
    shape.map((size) => (size === 1 ? 0 : strides.shift()!)),
    x.offset,
  )
}
