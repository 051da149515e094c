import { dropout as dropoutKernel, dropoutProblem } from '../../kernels/random/index.ts'
import { drawStream, type RandomDraw } from '../autograd/recomputation.ts'
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
    run(dropoutKernel, dropoutProblem(x.size, p, draw.words), [x.contiguous(), y], { updateParams: () => draw.next() })
    return y
  },
  backward(ctx, grad, { p, draw }) {
    if (!draw) return [grad.detach()]
    const dx = ctx.gradOut(0)
    dropoutBackward(p, draw, grad, dx)
    return [dx]
  },
})

/** Writes grad / (1 - p), or grad times 0 where forward gave x times 0; float32. The stream gives the same mask again, so none is stored. */
export function dropoutBackward(p: number, draw: RandomDraw, grad: Tensor, dx: Tensor): void {
  run(dropoutKernel, dropoutProblem(grad.size, p, draw.words), [grad.contiguous(), dx], { updateParams: () => draw.words })
}

/** @throws ShapeError unless p is in [0, 1] */
export function checkProbability(op: string, p: number): void {
  if (typeof p !== 'number' || !(p >= 0 && p <= 1)) throw new ShapeError(`${op}: got p = ${kindOf(p)}, takes 0 to 1`)
}

/**
 * Each element x / (1 - p), or x times 0 with probability p, which leaves NaN and makes it of infinity; which ones, the device's random state says. A model calls it in
 * training only.
 * @param x float32, any shape
 * @param p in [0, 1]; with 0 the result is x and the random state stays
 * @throws ShapeError for another dtype or p
 */
export function dropout(x: Tensor, p: number, ...extra: []): Tensor {
  checkTensor('dropout', x)
  checkNoMore('dropout', extra)
  if (x.dtype !== 'float32') throw new ShapeError(`dropout: got ${x.dtype}, takes float32`)
  checkProbability('dropout', p)
  return op([x], { p, draw: p > 0 ? drawStream(x.device.random) : undefined })
}
