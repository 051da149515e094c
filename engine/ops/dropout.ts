import * as kernels from '../../kernels/random/index.ts'
import { toFloat32 } from '../autograd/autocast.ts'
import { drawStream, type RandomDraw, repeat } from '../autograd/recomputation.ts'
import { defineOp } from '../autograd/tape.ts'
import { checkNoMore } from '../base/checks.ts'
import { ShapeError } from '../base/errors.ts'
import { kindOf } from '../base/kind.ts'
import { checkTensor } from '../tensor/arguments.ts'
import { run } from '../tensor/run.ts'
import { empty, type Tensor } from '../tensor/tensor.ts'

const op = defineOp<[Tensor], { p: number; draw: RandomDraw | undefined }>({
  name: 'dropout',
  forward(_ctx, [x], { p, draw }) {
    if (!draw) return x
    const y = empty(x.shape, 'float32', x.device)
    run(kernels.dropout, kernels.dropoutProblem(x.size, p, draw.words), [x.contiguous(), y], {
      updateParams: () => draw.next(),
    })
    return y
  },
  backward(ctx, grad, { p, draw }) {
    if (!draw) return [grad.detach()]
    const dx = ctx.gradOut(0)
    dropoutBackward(p, draw, grad, dx)
    return [dx]
  },
  differentiableBackward: (_ctx, grad, { p, draw }) => [draw ? sameDropout(grad, p, draw) : grad],
})

/** Multiplies x by the mask of an earlier dropout, on the tape. */
export function sameDropout(x: Tensor, p: number, draw: RandomDraw): Tensor {
  return op([x], { p, draw: repeat(draw) })
}

/** Writes the gradient of x into `dx`, float32. The random stream gives the mask of forward again, so no mask is stored. */
export function dropoutBackward(p: number, draw: RandomDraw, grad: Tensor, dx: Tensor): void {
  run(kernels.dropout, kernels.dropoutProblem(grad.size, p, draw.words), [grad.contiguous(), dx], {
    updateParams: () => draw.words,
  })
}

/** @throws ShapeError unless p is in [0, 1] */
export function checkProbability(op: string, p: number): void {
  if (typeof p !== 'number' || !(p >= 0 && p <= 1)) throw new ShapeError(`${op}: got p = ${kindOf(p)}, takes 0 to 1`)
}

/**
 * Dropout (Srivastava et al., JMLR 2014): multiplies each element by 0 with probability p, else by 1 / (1 - p). NaN stays NaN, and infinity
 * times 0 is NaN. The mask comes from the device's random state. A model calls it in training only.
 * @param x float32, any shape; inside `autocast` float16 too
 * @param p a probability in [0, 1]; 0 gives x and draws nothing from the random state
 * @throws ShapeError for another dtype, or p outside [0, 1]
 */
export function dropout(x: Tensor, p: number, ...extra: []): Tensor {
  checkTensor('dropout', x)
  checkNoMore('dropout', extra)
  const input = toFloat32(x)
  if (input.dtype !== 'float32') throw new ShapeError(`dropout: got ${input.dtype}, takes float32`)
  checkProbability('dropout', p)
  return op([input], { p, draw: p > 0 ? drawStream(x.device.random) : undefined })
}
