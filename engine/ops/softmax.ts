import * as kernels from '../../kernels/softmax/index.ts'
import { toFloat32 } from '../autograd/autocast.ts'
import { defineOp } from '../autograd/tape.ts'
import { checkNoMore } from '../base/checks.ts'
import { ShapeError } from '../base/errors.ts'
import { byLayouts, byNumber, share } from '../layout/layoutMemo.ts'
import { checkTensor } from '../tensor/arguments.ts'
import { run } from '../tensor/run.ts'
import { empty, type Tensor } from '../tensor/tensor.ts'
import { exp, mul, sub } from './elementwise.ts'
import { sum } from './reduce.ts'
import { axisViewOf } from './reduceDims.ts'

function define(log: boolean) {
  const name = log ? 'logSoftmax' : 'softmax'
  const problems = byLayouts(({ shape }) => byNumber((dim) => share({ ...axisViewOf(name, shape, dim), log })))
  const op = defineOp<[Tensor], { problem: kernels.SoftmaxProblem; dim: number }>({
    name,
    forward(ctx, [x], { problem }) {
      const y = empty(x.shape, 'float32', x.device)
      run(kernels.softmax, problem, [x.contiguous(), y])
      ctx.saveForBackward(y)
      return y
    },
    backward(ctx, grad, { problem }) {
      const dx = ctx.gradOut(0)
      run(kernels.softmaxBackward, problem, [ctx.saved[0]!, grad.contiguous(), dx])
      return [dx]
    },
    differentiableBackward(ctx, grad, { dim }) {
      const y = ctx.output()
      if (log) return [sub(grad, mul(exp(y), sum(grad, dim, true)))]
      return [mul(y, sub(grad, sum(mul(grad, y), dim, true)))]
    },
  })
  return (x: Tensor, dim: number, ...extra: []): Tensor => {
    checkTensor(name, x)
    checkNoMore(name, extra)
    const input = toFloat32(x)
    if (input.dtype !== 'float32') throw new ShapeError(`${name}: got ${input.dtype}, takes float32`)
    return op([input], { problem: problems(input.layout, input.layout)(dim), dim })
  }
}

/**
 * Softmax exp(x) / sum(exp(x)) along a dim. The maximum is subtracted first, so that logits of any size do not overflow. A line along the
 * dim with NaN or Infinity, or of -Infinity alone, becomes NaN; -Infinity beside finite logits gives 0.
 * @param x float32, any shape; inside `autocast` float16 too
 * @param dim the dim that sums to 1; negative numbers count back
 * @returns float32, of the shape of x
 * @throws ShapeError for another dtype, or a dim that x does not have
 */
export const softmax = define(false)

/**
 * The logarithm of softmax, x - log(sum(exp(x))), along a dim, without overflow for logits of any size. A line along the dim with NaN or
 * Infinity, or of -Infinity alone, becomes NaN; -Infinity beside finite logits stays.
 * @param x float32, any shape; inside `autocast` float16 too
 * @param dim the dim of the sum; negative numbers count back
 * @returns float32, of the shape of x
 * @throws ShapeError for another dtype, or a dim that x does not have
 */
export const logSoftmax = define(true)
