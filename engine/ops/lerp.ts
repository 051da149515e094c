import { toFloat } from '../autograd/cast.ts'
import { checkNoMore } from '../base/checks.ts'
import { checkOperand, checkTensor } from '../tensor/arguments.ts'
import type { Tensor } from '../tensor/tensor.ts'
import { add, mul, sub } from './elementwise.ts'
import type { Operand } from './operands.ts'

/**
 * x + weight (u - x) with NumPy's broadcasting, on the way from x to u. int32 is computed in float32.
 * @param u a tensor or a number
 * @param weight a tensor or a number; 0 gives x and 1 gives u
 * @throws ShapeError for shapes that do not broadcast
 */
export function lerp(x: Tensor, u: Operand, weight: Operand, ...extra: []): Tensor {
  checkTensor('lerp', x)
  checkOperand('lerp', u, 'u')
  checkOperand('lerp', weight, 'weight')
  checkNoMore('lerp', extra)
  const from = toFloat(x)
  return add(from, mul(sub(u, from), weight))
}
