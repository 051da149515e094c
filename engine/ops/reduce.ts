import * as kernels from '../../kernels/reduce/index.ts'
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
import { broadcastBack, lengthOf, type ReduceDims, reduceDimsOf, reductionOf, withoutDims } from './reduceDims.ts'

/**
 * Writes scale times the sum of x over dims `start` to `end` (exclusive) into `out`, off the tape.
 * @param out contiguous, with as many elements as the other dims of x; int32 if x is, else float32 or float16
 */
export function sumInto(out: Tensor, x: Tensor, start: number, end: number, scale = 1): void {
  if (out.dtype === 'float16') {
    // Sums accumulate in float32 and are rounded once.
    const accumulated = empty(out.shape, 'float32', out.device)
    sumInto(accumulated, x, start, end, scale)
    copyInto(accumulated, out)
    return
  }
  const { reduction, input } = reductionOf(x, start, end)
  const kernel = { float32: kernels.sum, float16: kernels.sumHalf, int32: kernels.sumInt }[x.dtype]
  const split = kernels.withChunk(reduction, kernels.splitChunk(x.device.capabilities, reduction))
  if (split.chunks === 1) run(kernel, { ...split, scale }, [input, out])
  else {
    const partials = empty([kernels.outputs(split)], out.dtype, x.device) // [outer, chunks, inner]
    run(kernel, { ...split, scale: 1 }, [input, partials])
    const combine = out.dtype === 'int32' ? kernels.sumInt : kernels.sum
    run(combine, { ...kernels.rowMajor(split.outer, split.chunks, split.inner), scale }, [partials, out])
  }
}

type SumOp = (inputs: [Tensor], pass: ReduceDims) => Tensor

function defineSum(name: 'sum' | 'mean') {
  const scaleOf = (pass: ReduceDims) => (name === 'mean' ? 1 / lengthOf(pass) : 1)
  const op: SumOp = defineOp<[Tensor], ReduceDims>({
    name,
    forward(_ctx, [x], pass) {
      if (lengthOf(pass) === 1) return withoutDims(x, pass)
      const out = empty(pass.shape, x.dtype, x.device)
      sumInto(out, x, pass.start, pass.end, scaleOf(pass))
      return out
    },
    backward: (_ctx, grad, pass) => [spread(grad, pass)],
    differentiableBackward: (_ctx, grad, pass) => [spreadOp([grad], pass)],
  })
  // The gradient of the gradient of a sum is the sum.
  const spreadOp: SumOp = defineOp<[Tensor], ReduceDims>({
    name: `${name}.backward`,
    forward: (_ctx, [grad], pass) => spread(grad, pass),
    backward: (_ctx, grad, pass) => [op([grad], pass)],
    differentiableBackward: (_ctx, grad, pass) => [op([grad], pass)],
  })
  const spread = (grad: Tensor, pass: ReduceDims): Tensor => {
    const scale = scaleOf(pass)
    if (scale === 1) return broadcastBack(grad, pass)
    const scaled = empty(grad.shape, grad.dtype, grad.device)
    runScalar('mul', grad.contiguous(), scale, scaled)
    return broadcastBack(scaled, pass)
  }
  return (x: Tensor, dim?: number | readonly number[], keepdim = false, ...extra: []): Tensor => {
    checkTensor(name, x)
    checkBoolean(name, keepdim, 'keepdim')
    checkNoMore(name, extra)
    if (name === 'mean' && !isFloat(x.dtype)) throw new ShapeError(`mean: got ${x.dtype}, takes float32 or float16`)
    return reduceDimsOf(name, x.shape, dim, keepdim).reduce((reduced, pass) => op([reduced], pass), x)
  }
}

/**
 * Sums x over one or more dims.
 * @param x any shape; float32, float16 (which accumulates in float32) or int32 (which wraps around)
 * @param dim a dim or a list of dims; by default all. Negative numbers count back
 * @param keepdim whether reduced dims stay, with size 1
 * @throws ShapeError for a dim that x does not have, or one named twice
 */
export const sum = defineSum('sum')

/** Averages x, float32 or float16, over one or more dims; otherwise as `sum`. @throws ShapeError for int32, and as `sum` */
export const mean = defineSum('mean')

/** The maxima of a pass, and the int32 indices of the first ones within the reduced dims, both of the pass's output shape. */
function runMax(x: Tensor, pass: ReduceDims): { values: Tensor; indices: Tensor } {
  const { device, dtype } = x
  const { reduction, input } = reductionOf(x, pass.start, pass.end)
  const float = dtype === 'float32'
  const pair = (shape: Shape) => ({ values: empty(shape, dtype, device), indices: empty(shape, 'int32', device) })
  const result = pair(pass.shape)
  const split = kernels.withChunk(reduction, kernels.splitChunk(device.capabilities, reduction))
  const first = split.chunks === 1 ? result : pair([kernels.outputs(split)])
  run(float ? kernels.max : kernels.maxInt, split, [input, first.values, first.indices])
  if (first !== result) {
    const { outer, chunks, inner } = split
    const tensors = [first.values, first.indices, result.values, result.indices]
    run(float ? kernels.maxCombine : kernels.maxCombineInt, { outer, chunks, inner }, tensors)
  }
  return result
}

const maxOp = defineOp<[Tensor], ReduceDims>({
  name: 'max',
  forward(ctx, [x], pass) {
    const { values, indices } = runMax(x, pass)
    ctx.saveForBackward(indices)
    return values
  },
  backward(ctx, grad, { from, start, end }) {
    const dx = ctx.gradOut(0)
    const [outer, n, inner] = [from.slice(0, start), from.slice(start, end), from.slice(end)].map(sizeOf)
    run(kernels.maxBackward, { outer: outer!, n: n!, inner: inner! }, [ctx.saved[0]!, grad.contiguous(), dx])
    return [dx]
  },
})

/**
 * Finds the maximum over one or more dims. It is NaN if an element is. The first of equal maxima, or the first NaN, gets the whole gradient.
 * @param x float32 or int32, any shape
 * @param dim a dim or a list of dims; by default all. Negative numbers count back
 * @param keepdim whether reduced dims stay, with size 1
 * @throws ShapeError for float16, a dim that x does not have, or one named twice
 */
export function max(x: Tensor, dim?: number | readonly number[], keepdim = false, ...extra: []): Tensor {
  checkTensor('max', x)
  checkBoolean('max', keepdim, 'keepdim')
  checkNoMore('max', extra)
  refuseHalf('max', x)
  return reduceDimsOf('max', x.shape, dim, keepdim).reduce((reduced, pass) => maxOp([reduced], pass), x)
}

const argmaxOp = defineOp<[Tensor], ReduceDims>({
  name: 'argmax',
  forward: (_ctx, [x], pass) => runMax(x, pass).indices,
})

/**
 * Finds the int32 index of the first maximum, or of the first NaN if there is one. No gradient flows.
 * @param x float32 or int32, any shape
 * @param dim the dim that the index is along; by default it is the row-major index among all elements. Negative numbers count back
 * @param keepdim whether the reduced dims stay, with size 1
 * @throws ShapeError for float16, or a dim that x does not have
 */
export function argmax(x: Tensor, dim?: number, keepdim = false, ...extra: []): Tensor {
  checkTensor('argmax', x)
  checkBoolean('argmax', keepdim, 'keepdim')
  checkNoMore('argmax', extra)
  refuseHalf('argmax', x)
  // Only along a single dim is there an index, so a list of dims is refused.
  if (dim !== undefined) normalizeDim('argmax', dim, Math.max(x.ndim, 1))
  const whole: ReduceDims = { from: x.shape, start: 0, end: x.ndim, shape: keepdim ? x.shape.map(() => 1) : [] }
  return noGrad(() => argmaxOp([x], dim === undefined ? whole : reduceDimsOf('argmax', x.shape, dim, keepdim)[0]!))
}
