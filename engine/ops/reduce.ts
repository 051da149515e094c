import {
  maxBackward,
  maxCombine,
  maxCombineInt,
  maxInt,
  max as maxKernel,
  outputs,
  rowMajor,
  splitChunk,
  sumHalf,
  sumInt,
  sum as sumKernel,
  withChunk,
} from '../../kernels/reduce/index.ts'
import { defineOp, noGrad } from '../autograd/tape.ts'
import { checkBoolean, checkNoMore } from '../base/checks.ts'
import { ShapeError } from '../base/errors.ts'
import { isFloat, refuseHalf } from '../layout/dtype.ts'
import { normalizeDim, type Shape, sizeOf } from '../layout/shape.ts'
import { checkTensor } from '../tensor/arguments.ts'
import { copyInto } from '../tensor/copies.ts'
import { runScalar } from '../tensor/pointwise.ts'
import { run } from '../tensor/run.ts'
import { empty, type Tensor } from '../tensor/tensor.ts'
import { broadcastBack, dropped, lengthOf, type ReduceDims, reduceDimsOf, reductionOf } from './reduceDims.ts'

// Sum and mean

/**
 * Writes scale times the sum of x over dims start to end (not included) into `out`, off the tape: also for ops that sum a
 * gradient into `ctx.gradOut`, such as a bias. `out` is contiguous, of as many elements as the other dims, and of int32 where x is,
 * else of float32 or float16.
 */
export function sumInto(out: Tensor, x: Tensor, start: number, end: number, scale = 1): void {
  if (out.dtype === 'float16') {
    // Sums are float32 as long as they grow.
    const wide = empty(out.shape, 'float32', out.device)
    sumInto(wide, x, start, end, scale)
    copyInto(wide, out)
    return
  }
  const { reduction, input } = reductionOf(x, start, end)
  const kernel = { float32: sumKernel, float16: sumHalf, int32: sumInt }[x.dtype]
  const split = withChunk(reduction, splitChunk(x.device.capabilities, reduction))
  if (split.chunks === 1) run(kernel, { ...split, scale }, [input, out])
  else {
    const pieces = empty([outputs(split)], out.dtype, x.device)
    run(kernel, { ...split, scale: 1 }, [input, pieces])
    const rest = out.dtype === 'int32' ? sumInt : sumKernel
    run(rest, { ...rowMajor(split.outer, split.chunks, split.inner), scale }, [pieces, out])
  }
}

function defineSum(name: 'sum' | 'mean') {
  const scaleOf = (span: ReduceDims) => (name === 'mean' ? 1 / lengthOf(span) : 1)
  const op = defineOp<[Tensor], ReduceDims>({
    name,
    forward(_ctx, [x], span) {
      if (lengthOf(span) === 1) return dropped(x, span)
      const out = empty(span.shape, x.dtype, x.device)
      sumInto(out, x, span.start, span.end, scaleOf(span))
      return out
    },
    backward(_ctx, given, span) {
      const scale = scaleOf(span)
      if (scale === 1) return [broadcastBack(given, span)]
      const grad = given.contiguous()
      const scaled = empty(grad.shape, grad.dtype, grad.device)
      runScalar('mul', grad, scale, scaled)
      return [broadcastBack(scaled, span)]
    },
  })
  return (x: Tensor, dim?: number | readonly number[], keepdim = false, ...extra: []): Tensor => {
    checkTensor(name, x)
    checkBoolean(name, keepdim, 'keepdim')
    checkNoMore(name, extra)
    if (name === 'mean' && !isFloat(x.dtype)) throw new ShapeError(`mean: got ${x.dtype}, takes float32 or float16`)
    return reduceDimsOf(name, x.shape, dim, keepdim).reduce((reduced, span) => op([reduced], span), x)
  }
}

/**
 * The sum over one or more dims.
 * @param x float32, float16 (added up in float32) or int32 (which wraps around), any shape
 * @param dim default all; negative ones count back
 * @param keepdim whether reduced dims stay, with size 1
 * @throws ShapeError for a dim that x does not have, or one named twice
 */
export const sum = defineSum('sum')

/** The mean over one or more dims, of float32 or float16; as `sum`. @throws ShapeError for int32, and as `sum` */
export const mean = defineSum('mean')

// Maximum

/** Maxima and int32 indices of the first ones within the span, both of the span's shape. */
function runMax(x: Tensor, span: ReduceDims): { values: Tensor; indices: Tensor } {
  const { device, dtype } = x
  const { reduction, input } = reductionOf(x, span.start, span.end)
  const float = dtype === 'float32'
  const pair = (shape: Shape) => ({ values: empty(shape, dtype, device), indices: empty(shape, 'int32', device) })
  const result = pair(span.shape)
  const split = withChunk(reduction, splitChunk(device.capabilities, reduction))
  const first = split.chunks === 1 ? result : pair([outputs(split)])
  run(float ? maxKernel : maxInt, split, [input, first.values, first.indices])
  if (first !== result) {
    const { outer, chunks, inner } = split
    const tensors = [first.values, first.indices, result.values, result.indices]
    run(float ? maxCombine : maxCombineInt, { outer, chunks, inner }, tensors)
  }
  return result
}

const maxOp = defineOp<[Tensor], ReduceDims>({
  name: 'max',
  forward(ctx, [x], span) {
    const { values, indices } = runMax(x, span)
    ctx.saveForBackward(indices)
    return values
  },
  backward(ctx, grad, { from, start, end }) {
    const dx = ctx.gradOut(0)
    const [outer, n, inner] = [from.slice(0, start), from.slice(start, end), from.slice(end)].map(sizeOf)
    run(maxBackward, { outer: outer!, n: n!, inner: inner! }, [ctx.saved[0]!, grad.contiguous(), dx])
    return [dx]
  },
})

/**
 * The maximum over one or more dims; NaN where there is one. The whole gradient goes to the first of equal maxima, or the first NaN.
 * @param x float32 or int32, any shape
 * @param dim default all; negative ones count back
 * @param keepdim whether reduced dims stay, with size 1
 * @throws ShapeError for float16, a dim that x does not have, or one named twice
 */
export function max(x: Tensor, dim?: number | readonly number[], keepdim = false, ...extra: []): Tensor {
  checkTensor('max', x)
  checkBoolean('max', keepdim, 'keepdim')
  checkNoMore('max', extra)
  refuseHalf('max', x)
  return reduceDimsOf('max', x.shape, dim, keepdim).reduce((reduced, span) => maxOp([reduced], span), x)
}

const argmaxOp = defineOp<[Tensor], ReduceDims>({
  name: 'argmax',
  forward: (_ctx, [x], span) => runMax(x, span).indices,
})

/**
 * The int32 index of the first maximum along a dim, or in row-major order of all elements; of the first NaN where there is one. Has no
 * gradient.
 * @param x float32 or int32, any shape
 * @param dim default all; a negative one counts back
 * @param keepdim whether the dim stays, with size 1
 * @throws ShapeError for float16, or a dim that x does not have
 */
export function argmax(x: Tensor, dim?: number, keepdim = false, ...extra: []): Tensor {
  checkTensor('argmax', x)
  checkBoolean('argmax', keepdim, 'keepdim')
  checkNoMore('argmax', extra)
  refuseHalf('argmax', x)
  // Several dims have no index.
  if (dim !== undefined) normalizeDim('argmax', dim, Math.max(x.ndim, 1))
  const whole: ReduceDims = { from: x.shape, start: 0, end: x.ndim, shape: keepdim ? x.shape.map(() => 1) : [] }
  return noGrad(() => argmaxOp([x], dim === undefined ? whole : reduceDimsOf('argmax', x.shape, dim, keepdim)[0]!))
}
