// This file has the parts that ops by index along a dim share.
import type { Along } from '../../kernels/indexing/index.ts'
import { ShapeError } from '../base/errors.ts'
import { format, normalizeDim, type Shape, sizeOf } from '../layout/shape.ts'
import { mismatch } from '../tensor/arguments.ts'
import type { Bindable } from '../tensor/run.ts'
import { operand } from '../tensor/strided.ts'
import type { Tensor } from '../tensor/tensor.ts'
import { asOneDim } from './reduceDims.ts'

/** The problem of an index along dim `dim`, which has `n` elements in what is indexed, and the index where it lies or as a copy. */
export function alongOf(index: Tensor, dim: number, n: number): { problem: Along; bound: Bindable } {
  const { layout, bound } = operand(index)
  const part = (from: number, to?: number) => asOneDim(index.shape.slice(from, to), index.strides.slice(from, to))
  const [outer, along, inner] = [part(0, dim), part(dim, dim + 1), part(dim + 1)]
  if (!outer || !along || !inner) return alongOf(index.contiguous(), dim, n)
  return {
    problem: {
      outer: outer.size,
      n,
      m: along.size,
      inner: inner.size,
      indexOffset: layout.offset,
      indexOuter: outer.stride,
      indexStride: along.stride,
      indexInner: inner.stride,
    },
    bound,
  }
}

/**
 * Checks an index along a dim of x, and counts the dim from the front.
 * @throws ShapeError unless the index is int32 of the rank of x and, but for `dim`, of no larger shape
 */
export function checkIndex(op: string, x: Tensor, dim: number, index: Tensor): number {
  const axis = normalizeDim(op, dim, Math.max(x.ndim, 1))
  const fits = index.ndim === x.ndim && index.shape.every((size, d) => d === axis || size <= x.shape[d]!)
  if (index.dtype !== 'int32' || !fits) {
    throw mismatch(op, [x, index], `an index int32 of the rank of x and, but for dim ${axis}, of no larger shape`)
  }
  return axis
}

/** @throws ShapeError unless the source has the dtype of x and the shape of the index */
export function checkSource(op: string, x: Tensor, index: Tensor, src: Tensor): void {
  if (src.dtype === x.dtype && format(src.shape) === format(index.shape)) return
  throw new ShapeError(
    `${op}: got src ${src.dtype} ${format(src.shape)}, takes ${x.dtype} ${format(index.shape)}, the dtype of x and the shape of the index`,
  )
}

/** The ranges of a slice of x that leave as much of every dim but `axis` as `shape` has; undefined where that is all. */
export function leadingPart(x: Tensor, axis: number, shape: Shape): (readonly [number, number])[] | undefined {
  if (shape.every((size, d) => d === axis || size === x.shape[d])) return undefined
  return x.shape.map((size, d) => [0, d === axis ? size : shape[d]!])
}

/** The number of elements of what is indexed. */
export function targetsOf({ outer, n, inner }: Along): number {
  return sizeOf([outer, n, inner])
}
