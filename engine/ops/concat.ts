import { promoteTypes } from '../autograd/autocast.ts'
import { defineOp } from '../autograd/tape.ts'
import { checkNoMore } from '../base/checks.ts'
import { ShapeError } from '../base/errors.ts'
import { format, normalizeDim, type Shape } from '../layout/shape.ts'
import { checkTensors } from '../tensor/arguments.ts'
import { copyInto } from '../tensor/copies.ts'
import { empty, type Tensor, view } from '../tensor/tensor.ts'
import { reshape } from './shape.ts'
import { slice } from './slice.ts'

/** Makes a view into `t` that starts at index `at` of a dim. */
function part(t: Tensor, dim: number, at: number, shape: Shape, strides: Shape): Tensor {
  return view(t, { shape, strides, offset: t.offset + at * t.strides[dim]! })
}

/** The `size` elements of t from `start` on along a dim, on the tape. */
function along(t: Tensor, dim: number, start: number, size: number): Tensor {
  return slice(
    t,
    t.shape.map((_, d) => (d === dim ? [start, start + size] : [])),
  )
}

const concatOp = defineOp<Tensor[], { dim: number; sizes: number[] }>({
  name: 'concat',
  forward(_ctx, parts, { dim, sizes }) {
    const [first] = parts as [Tensor]
    const total = sizes.reduce((sum, size) => sum + size, 0)
    const out = empty(first.shape.with(dim, total), first.dtype, first.device)
    let at = 0
    for (const t of parts) {
      copyInto(t, part(out, dim, at, t.shape, out.strides))
      at += t.shape[dim]!
    }
    return out
  },
  backward(ctx, grad, { dim, sizes }) {
    let at = 0
    return sizes.map((size, i) => {
      const dx = ctx.needs[i] ? part(grad, dim, at, grad.shape.with(dim, size), grad.strides) : undefined
      at += size
      return dx
    })
  },
  differentiableBackward(ctx, grad, { dim, sizes }) {
    let at = 0
    return sizes.map((size, i) => {
      const start = at
      at += size
      return ctx.needs[i] ? along(grad, dim, start, size) : undefined
    })
  },
})

/**
 * Concatenates tensors along a dim.
 * @param tensors at least one, of one shape but for `dim`; tensors of several dtypes meet in the one that `promoteTypes` gives
 * @param dim the dim that grows; negative numbers count back
 * @throws ShapeError for no tensors, or shapes that do not fit; ArgumentError unless all are live tensors of one device
 */
export function concat(tensors: readonly Tensor[], dim: number, ...extra: []): Tensor {
  checkTensors('concat', tensors)
  checkNoMore('concat', extra)
  const parts = promoteTypes(tensors)
  const first = firstOf('concat', parts)
  const axis = normalizeDim('concat', dim, first.ndim)
  for (const { shape } of parts) {
    if (shape.length !== first.ndim || shape.some((size, d) => d !== axis && size !== first.shape[d])) {
      throw new ShapeError(`concat: ${format(shape)} does not fit ${format(first.shape)}; only dim ${axis} may differ`)
    }
  }
  return concatOp([...parts], { dim: axis, sizes: parts.map(({ shape }) => shape[axis]!) })
}

const stackOp = defineOp<Tensor[], { dim: number }>({
  name: 'stack',
  forward(_ctx, parts, { dim }) {
    const [first] = parts as [Tensor]
    const out = empty(first.shape.toSpliced(dim, 0, parts.length), first.dtype, first.device)
    for (const [i, t] of parts.entries()) copyInto(t, part(out, dim, i, t.shape, out.strides.toSpliced(dim, 1)))
    return out
  },
  backward(ctx, grad, { dim }) {
    const [shape, strides] = [grad.shape.toSpliced(dim, 1), grad.strides.toSpliced(dim, 1)]
    return ctx.needs.map((needed, i) => (needed ? part(grad, dim, i, shape, strides) : undefined))
  },
  differentiableBackward(ctx, grad, { dim }) {
    const shape = grad.shape.toSpliced(dim, 1)
    return ctx.needs.map((needed, i) => (needed ? reshape(along(grad, dim, i, 1), shape) : undefined))
  },
})

/**
 * Stacks tensors along a new dim.
 * @param tensors at least one, of one shape; tensors of several dtypes meet in the one that `promoteTypes` gives
 * @param dim the index of the new dim in the result; negative numbers count back
 * @throws ShapeError for no tensors, or two shapes; ArgumentError unless all are live tensors of one device
 */
export function stack(tensors: readonly Tensor[], dim = 0, ...extra: []): Tensor {
  checkTensors('stack', tensors)
  checkNoMore('stack', extra)
  const parts = promoteTypes(tensors)
  const first = firstOf('stack', parts)
  const axis = normalizeDim('stack', dim, first.ndim + 1)
  for (const { shape } of parts) {
    if (format(shape) !== format(first.shape))
      throw new ShapeError(`stack: ${format(shape)} beside ${format(first.shape)}; takes one shape`)
  }
  return stackOp([...parts], { dim: axis })
}

/** @returns the first tensor. @throws ShapeError for no tensors */
function firstOf(op: string, [first]: readonly Tensor[]): Tensor {
  if (!first) throw new ShapeError(`${op}: got no tensors, takes at least one`)
  return first
}
