import { promoteTypes } from '../autograd/autocast.ts'
import { defineOp } from '../autograd/tape.ts'
import { checkNoMore } from '../base/checks.ts'
import { ShapeError } from '../base/errors.ts'
import { format, normalizeDim, type Shape } from '../layout/shape.ts'
import { checkTensors } from '../tensor/arguments.ts'
import { copyInto } from '../tensor/copies.ts'
import { empty, type Tensor, view } from '../tensor/tensor.ts'

/** The part of `t` that starts at `at` along a dim and has this shape and these strides. */
function part(t: Tensor, dim: number, at: number, shape: Shape, strides: Shape): Tensor {
  return view(t, shape, strides, t.offset + at * t.strides[dim]!)
}

const concatOp = defineOp<Tensor[], { dim: number; sizes: number[] }>({
  name: 'concat',
  forward(_ctx, parts, { dim, sizes }) {
    const [first] = parts as [Tensor]
    const total = sizes.reduce((sum, size) => sum + size, 0)
    const out = empty(first.shape.with(dim, total), first.dtype, first.device)
    let at = 0
    for (const one of parts) {
      copyInto(one, part(out, dim, at, one.shape, out.strides))
      at += one.shape[dim]!
    }
    return out
  },
  backward(ctx, grad, { dim, sizes }) {
    let at = 0
    return sizes.map((size, i) => {
      const own = ctx.needs[i] ? part(grad, dim, at, grad.shape.with(dim, size), grad.strides) : undefined
      at += size
      return own
    })
  },
})

/**
 * Tensors one after the other along a dim.
 * @param given tensors of one dtype, of equal sizes in the other dims
 * @param dim negative counts back
 * @throws ShapeError for no tensors, or tensors that do not fit together
 */
export function concat(given: readonly Tensor[], dim: number, ...extra: []): Tensor {
  checkTensors('concat', given)
  checkNoMore('concat', extra)
  const tensors = promoteTypes(given)
  const first = checkParts('concat', tensors)
  const axis = normalizeDim('concat', dim, first.ndim)
  for (const { shape } of tensors) {
    if (shape.length !== first.ndim || shape.some((size, d) => d !== axis && size !== first.shape[d])) {
      throw new ShapeError(`concat: ${format(shape)} does not fit ${format(first.shape)}; only dim ${axis} may differ`)
    }
  }
  return concatOp([...tensors], { dim: axis, sizes: tensors.map(({ shape }) => shape[axis]!) })
}

const stackOp = defineOp<Tensor[], { dim: number }>({
  name: 'stack',
  forward(_ctx, parts, { dim }) {
    const [first] = parts as [Tensor]
    const out = empty(first.shape.toSpliced(dim, 0, parts.length), first.dtype, first.device)
    for (const [i, one] of parts.entries()) copyInto(one, part(out, dim, i, one.shape, out.strides.toSpliced(dim, 1)))
    return out
  },
  backward(ctx, grad, { dim }) {
    const [shape, strides] = [grad.shape.toSpliced(dim, 1), grad.strides.toSpliced(dim, 1)]
    return ctx.needs.map((needed, i) => (needed ? part(grad, dim, i, shape, strides) : undefined))
  },
})

/**
 * Tensors side by side along a new dim.
 * @param given tensors of one dtype and shape
 * @param dim place of the new dim in the result; negative counts back
 * @throws ShapeError for no tensors, or tensors that differ
 */
export function stack(given: readonly Tensor[], dim = 0, ...extra: []): Tensor {
  checkTensors('stack', given)
  checkNoMore('stack', extra)
  const tensors = promoteTypes(given)
  const first = checkParts('stack', tensors)
  const axis = normalizeDim('stack', dim, first.ndim + 1)
  for (const { shape } of tensors) {
    if (format(shape) !== format(first.shape))
      throw new ShapeError(`stack: ${format(shape)} beside ${format(first.shape)}; takes one shape`)
  }
  return stackOp([...tensors], { dim: axis })
}

function checkParts(op: string, tensors: readonly Tensor[]): Tensor {
  const [first] = tensors
  if (!first) throw new ShapeError(`${op}: got no tensors, takes at least one`)
  for (const { dtype } of tensors) {
    if (dtype !== first.dtype)
      throw new ShapeError(`${op}: got ${first.dtype} and ${dtype}, takes tensors of one dtype; use cast()`)
  }
  return first
}
