import { type TrigonometricOp, trigonometric, trigonometricBackward } from '../../kernels/trigonometric/trigonometric.ts'
import { toFloat } from '../autograd/cast.ts'
import { checkNoMore } from '../base/checks.ts'
import { checkTensor } from '../tensor/arguments.ts'
import type { Tensor } from '../tensor/tensor.ts'
import { defineFunction } from './defineFunction.ts'
import { mul, neg } from './elementwise.ts'

function define(name: TrigonometricOp, derivative: (grad: Tensor, x: Tensor) => Tensor): (x: Tensor, ...extra: []) => Tensor {
  const op = defineFunction<TrigonometricOp>({
    ...{ name, forward: trigonometric, backward: trigonometricBackward, saves: 'input' },
    derivative: (grad, ctx) => derivative(grad, ctx.input(0)),
  })
  return (x, ...extra) => {
    checkTensor(name, x)
    checkNoMore(name, extra)
    return op(toFloat(x), {})
  }
}

/** The sine of x in radians, right for every finite float32; infinities give NaN. int32 is computed in float32. */
export const sin = define('sin', (grad, x) => mul(grad, cos(x)))
/** The cosine of x in radians, right for every finite float32; infinities give NaN. int32 is computed in float32. */
export const cos = define('cos', (grad, x) => neg(mul(grad, sin(x))))
