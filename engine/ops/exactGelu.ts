import { defineOp } from '../autograd/tape.ts'
import { runUnaryBackward } from '../tensor/pointwise.ts'
import { empty, type Tensor } from '../tensor/tensor.ts'
import { exp, mul, sub } from './elementwise.ts'
import { defineUnary } from './unary.ts'

/** The gradient of GELU: the gradient times the derivative at x. */
const geluGradient: (inputs: [grad: Tensor, x: Tensor], args: undefined) => Tensor = defineOp<[grad: Tensor, x: Tensor]>({
  name: 'gelu.backward',
  forward(ctx, inputs) {
    const [grad, x] = inputs.map((t) => t.contiguous()) as [Tensor, Tensor]
    const dx = empty(x.shape, x.dtype, x.device)
    runUnaryBackward('gelu', grad, x, dx)
    ctx.saveForBackward(grad, x)
    return dx
  },
  backward: (ctx, grad) => gradientsOf(ctx.needs, grad, ctx.saved as [Tensor, Tensor]),
  differentiableBackward: (ctx, grad) => gradientsOf(ctx.needs, grad, [ctx.input(0), ctx.input(1)]),
})

/** The gradients of `geluGradient`. The second derivative of GELU is phi(x) (2 - x^2), with the density phi of the normal distribution. */
function gradientsOf([ofGrad, ofX]: readonly boolean[], top: Tensor, [grad, x]: [Tensor, Tensor]): (Tensor | undefined)[] {
  const second = () => mul(mul(exp(mul(mul(x, x), -0.5)), 1 / Math.sqrt(2 * Math.PI)), sub(2, mul(x, x)))
  return [ofGrad ? geluGradient([top, x], undefined) : undefined, ofX ? mul(mul(top, grad), second()) : undefined]
}

/** GELU in its exact form, which `gelu` gives without options. */
export const exactGelu = defineUnary('gelu', (grad, ctx) => geluGradient([grad, ctx.input(0)], undefined))
