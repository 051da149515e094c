import type { AxisView } from '../../kernels/axisView.ts'
import { normalizeDim, type Shape, sizeOf } from '../layout/shape.ts'

/** A shape seen as [outer, n, inner] around one of its dims; rank 0 as one line of one element. @throws ShapeError */
export function axisViewOf(op: string, shape: Shape, dim: number): AxisView {
  const dims = shape.length > 0 ? shape : [1]
  const axis = normalizeDim(op, dim, dims.length)
  return { outer: sizeOf(dims.slice(0, axis)), n: dims[axis]!, inner: sizeOf(dims.slice(axis + 1)) }
}
