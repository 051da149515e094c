import { broadcastLayout, type Layout, mergeDims } from '../../kernels/layout.ts'
import { bindingAlignment, type Dtype } from '../layout/dtype.ts'
import type { Shape } from '../layout/shape.ts'
import type { TensorLayout } from '../layout/tensorLayout.ts'
import type { Bindable } from './run.ts'

/** Memory with a layout; every Tensor is one. */
export interface StridedView extends Bindable, Layout {
  readonly layout: TensorLayout
}

/**
 * The layout of a view as strided kernels take it, broadcast to `shape`. Its offset leads from the last aligned element at or before the
 * view's first element to that element.
 */
export function operandLayout(layout: Layout, dtype: Dtype, shape: Shape = layout.shape): Layout {
  return { ...broadcastLayout(layout, shape), offset: layout.offset % bindingAlignment(dtype) }
}

/** A view as strided kernels take it, broadcast to `shape`: its layout, and its memory from the last aligned element on. */
export function operand(t: StridedView, shape: Shape = t.shape): { layout: Layout; bound: Bindable } {
  const { device, storage, version, dtype, end } = t
  const layout = operandLayout(t.layout, dtype, shape)
  return { layout, bound: { device, storage, version, dtype, offset: t.offset - layout.offset, end } }
}

/** The memory of a view from the last aligned element at or before its first element on, as `operand` gives it; nearly always the view itself. */
export function fromAligned(t: StridedView): Bindable {
  return t.offset % bindingAlignment(t.dtype) === 0 ? t : operand(t).bound
}

/** The distance between neighbouring rows (the last dim), in elements; undefined unless all rows lie evenly spaced. */
export function rowStrideOf({ shape, strides }: Layout): number | undefined {
  const rows = mergeDims(shape.slice(0, -1), [strides])
  return rows.dims.length > 1 ? undefined : (rows.strides[0]![0] ?? shape.at(-1)!)
}
