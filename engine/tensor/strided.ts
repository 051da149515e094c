import type { Layout } from '../../kernels/layout.ts'
import { bindingAlignment } from '../layout/dtype.ts'
import type { Shape } from '../layout/shape.ts'
import type { Bindable } from './run.ts'

/** Strides of a shape seen as the larger `shape` it broadcasts to: 0 along dims that repeat. */
export function broadcastStrides(own: Shape, strides: Shape, shape: Shape): number[] {
  const lead = shape.length - own.length
  return shape.map((size, d) => (d < lead || (own[d - lead] === 1 && size !== 1) ? 0 : strides[d - lead]!))
}

/** A tensor as memory with a shape and strides. */
export interface StridedView extends Bindable {
  readonly shape: Shape
  /** Elements from one index of a dim to the next. */
  readonly strides: Shape
}

/**
 * A tensor as strided kernels take it, broadcast to `shape`: bound at the last aligned element at or before its first one,
 * which is then the layout's offset.
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
