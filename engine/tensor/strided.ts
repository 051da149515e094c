import { broadcastLayout, type Layout, mergeDims } from '../../kernels/layout.ts'
import { bindingAlignment } from '../layout/dtype.ts'
import type { Shape } from '../layout/shape.ts'
import type { Bindable } from './run.ts'

/** Memory with a layout; every Tensor is one. */
export interface StridedView extends Bindable, Layout {}

/**
 * A view as strided kernels take it, broadcast to `shape`. The binding starts at the last aligned element at or before the view's first
 * element; the layout's offset leads from there to that element.
 */
export function operand(t: StridedView, shape: Shape = t.shape): { layout: Layout; bound: Bindable } {
  const offset = t.offset % bindingAlignment(t.dtype)
  return {
    layout: { ...broadcastLayout(t, shape), offset },
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
export function rowStrideOf({ shape, strides }: Layout): number | undefined {
  const rows = mergeDims(shape.slice(0, -1), [strides])
  return rows.dims.length > 1 ? undefined : (rows.strides[0]![0] ?? shape.at(-1)!)
}
