import * as kernels from '../../kernels/elementwise/index.ts'
import { promoteTypes } from '../autograd/autocast.ts'
import { toFloat } from '../autograd/cast.ts'
import { defineOp } from '../autograd/tape.ts'
import { checkNoMore } from '../base/checks.ts'
import { ShapeError } from '../base/errors.ts'
import { scalarOf } from '../layout/dtype.ts'
import { broadcastShapes } from '../layout/shape.ts'
import { checkOperand } from '../tensor/arguments.ts'
import { run } from '../tensor/run.ts'
import { operand } from '../tensor/strided.ts'
import { empty, type Tensor } from '../tensor/tensor.ts'
import { gt, ne } from './compare.ts'
import { full } from './create.ts'
import { log, mul, sub } from './elementwise.ts'
import { type Operand, type OperandArguments, type OptionalTensors, splitOperands } from './operands.ts'
import { sumTo, sumToInput } from './shape.ts'
import { where } from './where.ts'

/** grad b a^(b - 1), which is 0 where b is 0. */
function byBase(grad: Tensor, a: Operand, b: Operand): Tensor {
  if (typeof b === 'number')
    return b === 0 ? mul(grad, full([], 0, { dtype: grad.dtype, device: grad.device })) : mul(mul(grad, b), pow(a, b - 1))
  return where(ne(b, 0), mul(mul(grad, b), pow(a, sub(b, 1))), 0)
}

/** ln a where a is positive, else 0. */
function positiveLog(a: Operand): Operand {
  if (typeof a === 'number') return a > 0 ? Math.log(a) : 0
  const positive = gt(a, 0)
  return where(positive, log(where(positive, a, 1)), 0)
}

const powOp = defineOp<OptionalTensors, OperandArguments & { given: readonly [a: boolean, b: boolean] }>({
  name: 'pow',
  forward(ctx, inputs, { numbers }) {
    const { device, dtype } = (inputs[0] ?? inputs[1])!
    const [a, b] = inputs.map((t, i) => t ?? full([], numbers[i]!, { device, dtype })) as [Tensor, Tensor]
    const out = empty(broadcastShapes('pow', a.shape, b.shape), dtype, device)
    const [left, right] = [operand(a, out.shape), operand(b, out.shape)]
    run(kernels.pow, kernels.powProblem(scalarOf(dtype), left.layout, right.layout), [left.bound, right.bound, out])
    ctx.saveForBackward(a, b)
    return out
  },
  backward(ctx, grad, { shapes }) {
    const [a, b] = ctx.saved as [Tensor, Tensor]
    const [left, right, top] = [operand(a, grad.shape), operand(b, grad.shape), operand(grad)]
    return shapes.map((shape, i) => {
      if (!ctx.needs[i]) return undefined
      const out = empty(grad.shape, grad.dtype, grad.device)
      const what = { dtype: scalarOf(grad.dtype), exponent: i === 1 }
      const problem = kernels.powBackwardProblem(what, top.layout, left.layout, right.layout)
      run(kernels.powBackward, problem, [top.bound, left.bound, right.bound, out])
      return sumToInput(ctx, i, out, shape)
    })
  },
  differentiableBackward(ctx, grad, { numbers, shapes, given }) {
    const [a, b] = given.map((tensor, i) => (tensor ? ctx.input(i) : numbers[i]!)) as [Operand, Operand]
    return [
      ctx.needs[0] ? sumTo(byBase(grad, a as Tensor, b), shapes[0]) : undefined,
      ctx.needs[1] ? sumTo(mul(mul(grad, pow(a, b)), positiveLog(a)), shapes[1]) : undefined,
    ]
  },
})

/**
 * a ^ b with NumPy's broadcasting; either may be a number. x ^ 0 and 1 ^ x are 1, also where x is NaN. A negative base gives NaN unless the
 * exponent is whole. The gradient of the exponent is 0 where the base is not positive (PyTorch gives NaN below 0). SwiftShader flushes
 * subnormal operands to 0. int32 is computed in float32.
 * @throws ShapeError for shapes that do not broadcast
 */
export function pow(a: Operand, b: Operand, ...extra: []): Tensor {
  checkOperand('pow', a)
  checkOperand('pow', b)
  checkNoMore('pow', extra)
  const { tensors, args } = splitOperands(a, b)
  if (!tensors[0] && !tensors[1]) throw new ShapeError('pow: got two numbers, takes at least one tensor')
  const given = [tensors[0] !== undefined, tensors[1] !== undefined] as const
  const met = [...promoteTypes(tensors.flatMap((t) => (t ? [toFloat(t)] : [])))]
  return powOp(given.map((tensor) => (tensor ? met.shift() : undefined)) as OptionalTensors, { ...args, given })
}
