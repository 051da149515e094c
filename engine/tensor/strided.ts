import { type Layout, mergeDims } from '../../kernels/layout.ts'
import { bindingAlignment } from '../layout/dtype.ts'
import type { Shape } from '../layout/shape.ts'
import type { Bindable } from './run.ts'

/** The strides of a view with shape `from` after broadcasting to shape `to`: 0 along dims that repeat. */
export function broadcastStrides(from: Shape, strides: Shape, to: Shape): number[] {
  const lead = to.length - from.length
  return to.map((size, d) => (d < lead || (from[d - lead] === 1 && size !== 1) ? 0 : strides[d - lead]!))
}

/** Memory with a shape and strides; every Tensor is one. */
export interface StridedView extends Bindable {
  readonly shape: Shape
  /** By dim, the distance between neighbouring elements, in elements. */
  readonly strides: Shape
}

/**
 * A view as strided kernels take it, broadcast to `shape`. The binding starts at the last aligned element at or before the view's first
 * element; the layout's offset leads from there to that element.
 */
export function operand(t: StridedView, shape: Shape = t.shape): { layout: Layout; bound: Bindable } {
  const offset = t.offset % bindingAlignment(t.dtype)
  return {
    layout: { strides: broadcastStrides(t.shape, t.strides, shape), offset },
    bound: {
      device: t.device,
      storage: t.storage,
      version: t.version,
      dtype: t.dtype,
      offset: t.offset - offset,
      ...(t.end !== undefined && { end: t.end }),
    },
  }
}

/** The distance between neighbouring rows (the last dim), in elements; undefined unless all rows lie evenly spaced. */
export function rowStrideOf({ shape, strides }: StridedView): number | undefined {
  const rows = mergeDims(shape.slice(0, -1), [strides])
  return rows.dims.length > 1 ? undefined : (rows.strides[0]![0] ?? shape.at(-1)!)
}
