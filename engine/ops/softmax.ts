import { type SoftmaxProblem, softmaxBackward, softmax as softmaxKernel } from '../../kernels/softmax/index.ts'
import { toFloat32 } from '../autograd/autocast.ts'
import { defineOp } from '../autograd/tape.ts'
import { checkNoMore } from '../base/checks.ts'
import { ShapeError } from '../base/errors.ts'
import { checkTensor } from '../tensor/arguments.ts'
import { run } from '../tensor/run.ts'

import { empty, type Tensor } from '../tensor/tensor.ts'
import { axisViewOf } from './axisView.ts'

function define(log: boolean) {
  const name = log ? 'logSoftmax' : 'softmax'
  const op = defineOp<[Tensor], SoftmaxProblem>({
    name,
    forward(ctx, [x], problem) {
      const y = empty(x.shape, 'float32', x.device)
      run(softmaxKernel, problem, [x.contiguous(), y])
      ctx.saveForBackward(y)
      return y
    },
    backward(ctx, grad, problem) {
      const dx = ctx.gradOut(0)
      run(softmaxBackward, problem, [ctx.saved[0]!, grad.contiguous(), dx])
      return [dx]
    },
  })
  return (given: Tensor, dim: number, ...extra: []): Tensor => {
    checkTensor(name, given)
    checkNoMore(name, extra)
    const x = toFloat32(given)
    if (x.dtype !== 'float32') throw new ShapeError(`${name}: got ${x.dtype}, takes float32`)
    return op([x], { ...axisViewOf(name, x.shape, dim), log })
  }
}

/**
 * exp(x) / sum(exp(x)) along a dim, safe for logits of any size. NaN or Infinity in a line makes all of it NaN, -Infinity gives 0, and a
 * line of nothing else NaN.
 * @param given float32, any shape; inside `autocast` float16 too
 * @param dim the dim that sums to 1; negative counts back
 * @returns a tensor of x's shape
 * @throws ShapeError for another dtype, or a dim that x does not have
 */
export const softmax = define(false)

/**
 * x - log(sum(exp(x))) along a dim, safe for logits of any size. NaN or Infinity in a line makes all of it NaN, -Infinity stays, and a
 * line of nothing else becomes NaN.
 * @param given float32, any shape; inside `autocast` float16 too
 * @param dim the dim of the sum; negative counts back
 * @returns a tensor of x's shape
 * @throws ShapeError for another dtype, or a dim that x does not have
 */
export const logSoftmax = define(true)
