import type * as kernels from '../../kernels/elementwise/unary.ts'
import { SAVES_INPUT } from '../../kernels/elementwise/unary.ts'
import { toFloat } from '../autograd/cast.ts'
import { type DifferentiableContext, defineOp } from '../autograd/tape.ts'
import { checkNoMore } from '../base/checks.ts'
import { rowMajor } from '../layout/tensorLayout.ts'
import { checkTensor } from '../tensor/arguments.ts'
import { runUnary, runUnaryBackward } from '../tensor/pointwise.ts'
import { emptyOf, type Tensor } from '../tensor/tensor.ts'

/**
 * Defines a function of one operand, of float32 or float16; but for `neg` it computes int32 in float32. It follows IEEE 754, except
 * that drivers such as SwiftShader flush subnormals to 0.
 * @param derivative computes the gradient by ops on the tape
 */
export function defineUnary(
  name: kernels.UnaryOp,
  derivative?: (grad: Tensor, ctx: DifferentiableContext) => Tensor,
): (x: Tensor, ...extra: []) => Tensor {
  const op = defineOp<[Tensor]>({
    name,
    forward(ctx, [input]) {
      const x = input.contiguous()
      const y = emptyOf(rowMajor(x.shape), x.dtype, x.device)
      runUnary(name, x, y)
      if (name !== 'neg') ctx.saveForBackward(SAVES_INPUT.has(name) ? x : y)
      return y
    },
    backward(ctx, dy) {
      const grad = dy.contiguous()
      const dx = ctx.gradOut(0)
      if (name === 'neg') runUnary(name, grad, dx)
      else runUnaryBackward(name, grad, ctx.saved[0]!, dx)
      return [dx]
    },
    ...(derivative && { differentiableBackward: (ctx, grad) => [derivative(grad, ctx)] }),
  })
  return (x, ...extra) => {
    checkTensor(name, x)
    checkNoMore(name, extra)
    return op([name === 'neg' ? x : toFloat(x)], undefined)
  }
}
