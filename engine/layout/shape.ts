import { type Layout, rowMajorStrides } from '../../kernels/layout.ts'
import { ShapeError } from '../base/errors.ts'
import { kindOf } from '../base/kind.ts'

export type Shape = readonly number[]

/** Returns the number of elements of a shape; 1 for rank 0. */
export function sizeOf(shape: Shape): number {
  let size = 1
  for (const dim of shape) size *= dim
  return size
}

/** Returns the layout of a row-major tensor. @param offset its first element */
export function rowMajorLayout(shape: Shape, offset = 0): Layout {
  return { shape, strides: rowMajorStrides(shape), offset }
}

/** Whether elements lie in row-major order without gaps. The strides of dims of size 1 do not matter. */
export function isRowMajor({ shape, strides }: Layout): boolean {
  let stride = 1
  for (let i = shape.length - 1; i >= 0; i--) {
    if (shape[i] === 1) continue
    if (strides[i] !== stride) return false
    stride *= shape[i]!
  }
  return true
}

/** Broadcasts two shapes as NumPy does. @throws ShapeError where they do not broadcast */
export function broadcastShapes(op: string, a: Shape, b: Shape): number[] {
  const rank = Math.max(a.length, b.length)
  return Array.from({ length: rank }, (_, i) => {
    const left = a[i - rank + a.length] ?? 1
    const right = b[i - rank + b.length] ?? 1
    if (left !== right && left !== 1 && right !== 1) {
      throw new ShapeError(`${op}: shapes ${format(a)} and ${format(b)} do not broadcast; align them from the last dim`)
    }
    return left === 1 ? right : left
  })
}

/** Returns a dim counted from the front. @param dim counts from the back where it is negative @throws ShapeError where there is no such dim */
export function normalizeDim(op: string, dim: number, rank: number): number {
  const counted = typeof dim === 'number' && dim < 0 ? dim + rank : dim
  if (!Number.isInteger(counted) || counted < 0 || counted >= rank) {
    const dims = rank === 0 ? 'which has none' : `which takes ${-rank} to ${rank - 1}`
    throw new ShapeError(`${op}: dim ${kindOf(dim)} does not exist in a tensor of rank ${rank}, ${dims}`)
  }
  return counted
}

/** The number of elements of the largest tensor; kernels index with 32 bits. */
export const MAX_ELEMENTS = 2 ** 31 - 1

/** @throws ShapeError unless `shape` is a list of whole numbers of at least 1, and has at most MAX_ELEMENTS elements */
export function checkShape(op: string, shape: Shape): void {
  if (!Array.isArray(shape)) throw new ShapeError(`${op}: got shape ${kindOf(shape)}, takes a list such as [2, 3]`)
  for (const dim of shape) {
    if (!Number.isSafeInteger(dim) || dim < 1)
      throw new ShapeError(`${op}: shape ${kindOf(shape)} has a dim ${kindOf(dim)} that is not at least 1, or no whole number`)
  }
  if (sizeOf(shape) > MAX_ELEMENTS) throw new ShapeError(`${op}: shape ${format(shape)} has more than ${MAX_ELEMENTS} elements`)
}

/** Whether two shapes have the same dims. */
export function equalShapes(a: Shape, b: Shape): boolean {
  return a === b || (a.length === b.length && a.every((size, d) => size === b[d]))
}

/** Formats a shape as text, such as `[2, 3]`. */
export function format(shape: Shape): string {
  return `[${shape.join(', ')}]`
}
