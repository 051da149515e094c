import { type ExponentialOp, exponential, exponentialBackward, SAVES_RESULT } from '../../kernels/exponential/exponential.ts'
import { toFloat } from '../autograd/cast.ts'
import type { DifferentiableContext } from '../autograd/tape.ts'
import { checkNoMore } from '../base/checks.ts'
import { checkTensor } from '../tensor/arguments.ts'
import type { Tensor } from '../tensor/tensor.ts'
import { defineFunction } from './defineFunction.ts'
import { add, div, exp, mul, neg } from './elementwise.ts'

function define(
  name: ExponentialOp,
  derivative: (grad: Tensor, ctx: DifferentiableContext) => Tensor,
): (x: Tensor, ...extra: []) => Tensor {
  const saves = SAVES_RESULT.has(name) ? 'result' : 'input'
  const op = defineFunction<ExponentialOp>({ name, forward: exponential, backward: exponentialBackward, saves, derivative })
  return (x, ...extra) => {
    checkTensor(name, x)
    checkNoMore(name, extra)
    return op(toFloat(x), {})
  }
}

/** 2^x, exact for whole numbers; int32 is computed in float32. */
export const exp2 = define('exp2', (grad, ctx) => mul(mul(grad, Math.LN2), ctx.output()))
/** The logarithm to base 2: NaN below 0, -Infinity at 0; int32 is computed in float32. */
export const log2 = define('log2', (grad, ctx) => div(mul(grad, Math.LOG2E), ctx.input(0)))
/** log(1 + x), right to the last digits near 0 too; int32 is computed in float32. */
export const log1p = define('log1p', (grad, ctx) => div(grad, add(ctx.input(0), 1)))
/** e^x - 1, right to the last digits near 0 too; int32 is computed in float32. */
export const expm1 = define('expm1', (grad, ctx) => mul(grad, add(ctx.output(), 1)))
/** The error function; int32 is computed in float32. */
export const erf = define('erf', (grad, ctx) =>
  mul(mul(grad, 2 / Math.sqrt(Math.PI)), exp(neg(mul(ctx.input(0), ctx.input(0))))),
)
