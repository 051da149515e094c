import { dropout as dropoutKernel, dropoutProblem, type Stream, streamOf } from '../../kernels/random/index.ts'
import { defineOp } from '../autograd.ts'
import { ShapeError } from '../errors.ts'
import { run } from '../run.ts'
import { empty, type Tensor } from '../tensor.ts'

const op = defineOp<[Tensor], { p: number; stream: Stream | undefined }>({
  name: 'dropout',
  forward(_ctx, [x], { p, stream }) {
    if (!stream) return x
    const y = empty(x.shape, 'float32', x.device)
    run(dropoutKernel, dropoutProblem(x.size, p, stream), [x.contiguous(), y])
    return y
  },
  // The stream gives the same mask again, so none is stored.
  backward(ctx, grad, { p, stream }) {
    if (!stream) return [grad.detach()]
    const dx = ctx.gradOut(0)
    run(dropoutKernel, dropoutProblem(grad.size, p, stream), [grad.contiguous(), dx])
    return [dx]
  },
})

/**
 * Each element x / (1 - p), or 0 with probability p; which ones, the device's random state says. A model calls it in
 * training only.
 * @param x float32, any shape
 * @param p in [0, 1]; with 0 the result is x and the random state stays
 * @throws ShapeError for another dtype or p
 */
export function dropout(x: Tensor, p: number): Tensor {
  if (x.dtype !== 'float32') throw new ShapeError(`dropout: got ${x.dtype}, takes float32`)
  if (!(p >= 0 && p <= 1)) throw new ShapeError(`dropout: got p = ${p}, takes 0 to 1`)
  const next = p > 0 ? x.device.random.next() : undefined
  return op([x], { p, stream: next && streamOf(next.seed, next.counter) })
}
