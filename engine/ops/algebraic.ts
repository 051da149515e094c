import { type AlgebraicOp, algebraic, algebraicBackward } from '../../kernels/algebraic/algebraic.ts'
import { toFloat } from '../autograd/cast.ts'
import { type DifferentiableContext, noGrad } from '../autograd/tape.ts'
import { checkNoMore } from '../base/checks.ts'
import { isFloat } from '../layout/dtype.ts'
import { checkTensor } from '../tensor/arguments.ts'
import type { Tensor } from '../tensor/tensor.ts'
import { clamp } from './clamp.ts'
import { defineFunction } from './defineFunction.ts'
import { mul, neg } from './elementwise.ts'
import { maximum } from './pairwise.ts'

/**
 * Defines a function of one operand.
 * @param ofInt computes it of int32; without it int32 is computed in float32
 * @param gradient what the gradient is computed from, and the gradient by ops on the tape; without it the gradient is 0
 */
function define(
  name: AlgebraicOp,
  ofInt?: (x: Tensor) => Tensor,
  gradient?: ['input' | 'result', (grad: Tensor, ctx: DifferentiableContext) => Tensor],
): (x: Tensor, ...extra: []) => Tensor {
  const more = gradient && { backward: algebraicBackward, saves: gradient[0], derivative: gradient[1] }
  const op = defineFunction<AlgebraicOp>({ name, forward: algebraic, ...more })
  return (x, ...extra) => {
    checkTensor(name, x)
    checkNoMore(name, extra)
    return ofInt && !isFloat(x.dtype) ? noGrad(() => ofInt(x)) : op(toFloat(x), {})
  }
}

const itself = (x: Tensor) => x.detach()

/** |x|, of any dtype; the least int32 stays itself. The gradient at 0 is 0. */
export const abs = define('abs', (x) => maximum(x, neg(x)), ['input', (grad, ctx) => mul(grad, sign(ctx.input(0)))])
/** -1, 0 or 1 by the sign of x, of any dtype; NaN stays NaN. The gradient is 0. */
export const sign = define('sign', (x) => clamp(x, -1, 1))
/** The largest whole number that is not above x; int32 stays as it is. The gradient is 0. */
export const floor = define('floor', itself)
/** The least whole number that is not below x; int32 stays as it is. The gradient is 0. */
export const ceil = define('ceil', itself)
/** The nearest whole number, of two the even one, as in NumPy and PyTorch; int32 stays as it is. The gradient is 0. */
export const round = define('round', itself)
/** x without its fraction; int32 stays as it is. The gradient is 0. */
export const trunc = define('trunc', itself)
/** x x, of any dtype; int32 wraps around. */
export const square = define('square', (x) => mul(x, x), ['input', (grad, ctx) => mul(mul(grad, 2), ctx.input(0))])
/** 1 / x; int32 is computed in float32. */
export const reciprocal = define('reciprocal', undefined, [
  'result',
  (grad, ctx) => neg(mul(grad, mul(ctx.output(), ctx.output()))),
])
/** 1 / sqrt(x); int32 is computed in float32. */
export const rsqrt = define('rsqrt', undefined, [
  'result',
  (grad, ctx) => mul(mul(grad, -0.5), mul(ctx.output(), mul(ctx.output(), ctx.output()))),
])
