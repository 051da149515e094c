import * as kernels from '../../kernels/reduce/index.ts'
import { defineOp } from '../autograd/tape.ts'
import { checkBoolean, checkNoMore } from '../base/checks.ts'
import { ShapeError } from '../base/errors.ts'
import { getOrMake } from '../base/maps.ts'
import { isFloat } from '../layout/dtype.ts'
import { byDevice, byLayouts, byNumber, share } from '../layout/layoutMemo.ts'
import { checkTensor } from '../tensor/arguments.ts'
import { copyInto } from '../tensor/copies.ts'
import { runScalar } from '../tensor/pointwise.ts'
import { run } from '../tensor/run.ts'
import { empty, type Tensor } from '../tensor/tensor.ts'
import { broadcastBack, lengthOf, type ReduceDims, reduceDimsOf, reductionOf, withoutDims } from './reduceDims.ts'

/** By device, reduction and scale, the problems of the launches of a sum: one, or those of the partial sums and of their sum. */
const sumProblems = byDevice((device) => {
  const made = new WeakMap<kernels.Reduction, ReturnType<typeof byScale>>()
  const byScale = (reduction: kernels.Reduction) =>
    byNumber((scale) => {
      const split = kernels.withChunk(reduction, kernels.splitChunk(device, reduction))
      if (split.chunks === 1) return { first: share({ ...split, scale }), combine: undefined }
      const pieces = kernels.rowMajor(split.outer, split.chunks, split.inner)
      return { first: share({ ...split, scale: 1 }), combine: share({ ...pieces, scale }) }
    })
  return (reduction: kernels.Reduction, scale: number) => getOrMake(made, reduction, () => byScale(reduction))(scale)
})

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
  const { first, combine } = sumProblems(x.device.capabilities)(reduction, scale)
  if (!combine) run(kernel, first, [input, out])
  else {
    const partials = empty([kernels.outputs(first)], out.dtype, x.device) // [outer, chunks, inner]
    run(kernel, first, [input, partials])
    run(out.dtype === 'int32' ? kernels.sumInt : kernels.sum, combine, [partials, out])
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
    if (scale === 1) {
      const repeated = broadcastBack(grad, pass)
      repeated.allOnes = grad.allOnes
      return repeated
    }
    const scaled = empty(grad.shape, grad.dtype, grad.device)
    runScalar('mul', grad.contiguous(), scale, scaled)
    return broadcastBack(scaled, pass)
  }
  // Of all dims, or of one.
  const ofAll = [false, true].map((keepdim) => byLayouts(({ shape }) => reduceDimsOf(name, shape, undefined, keepdim)))
  const ofDim = [false, true].map((keepdim) =>
    byLayouts(({ shape }) => byNumber((dim) => reduceDimsOf(name, shape, dim, keepdim))),
  )
  const passesOf = ({ layout, shape }: Tensor, dim: number | readonly number[] | undefined, keepdim: boolean) => {
    if (dim === undefined) return ofAll[+keepdim]!(layout, layout)
    return typeof dim === 'number' ? ofDim[+keepdim]!(layout, layout)(dim) : reduceDimsOf(name, shape, dim, keepdim)
  }
  return (x: Tensor, dim?: number | readonly number[], keepdim = false, ...extra: []): Tensor => {
    checkTensor(name, x)
    checkBoolean(name, keepdim, 'keepdim')
    checkNoMore(name, extra)
    if (name === 'mean' && !isFloat(x.dtype)) throw new ShapeError(`mean: got ${x.dtype}, takes float32 or float16`)
    let reduced = x
    for (const pass of passesOf(x, dim, keepdim)) reduced = op([reduced], pass)
    return reduced
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
