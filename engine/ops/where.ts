import * as kernels from '../../kernels/elementwise/index.ts'
import { defineOp } from '../autograd/tape.ts'
import { checkNoMore } from '../base/checks.ts'
import { ShapeError } from '../base/errors.ts'
import { type Dtype, refuseHalf } from '../layout/dtype.ts'
import { broadcastShapes } from '../layout/shape.ts'
import { checkOperand, checkTensor } from '../tensor/arguments.ts'
import { run } from '../tensor/run.ts'
import { operand } from '../tensor/strided.ts'
import { empty, type Tensor } from '../tensor/tensor.ts'
import { checkInt, full } from './create.ts'
import { type Operand, type OperandArguments, splitOperands } from './operands.ts'
import { sumTo, sumToInput } from './shape.ts'

type Inputs = [condition: Tensor, a: Tensor | undefined, b: Tensor | undefined]

/** Launches the kernel: a where the condition is not 0, else b, all broadcast. */
function select(condition: Tensor, a: Tensor, b: Tensor): Tensor {
  const shape = broadcastShapes('where', condition.shape, broadcastShapes('where', a.shape, b.shape))
  const out = empty(shape, a.dtype, condition.device)
  const [mask, left, right] = [operand(condition, shape), operand(a, shape), operand(b, shape)]
  const problem = kernels.whereProblem(mask.layout, left.layout, right.layout)
  run(condition.dtype === 'int32' ? kernels.whereInt : kernels.where, problem, [mask.bound, left.bound, right.bound, out])
  return out
}

const op = defineOp<Inputs, OperandArguments & { dtype: Dtype }>({
  name: 'where',
  forward(ctx, [condition, ...operands], { dtype, numbers }) {
    const { device } = condition
    const [a, b] = operands.map((t, i) => t ?? full([], numbers[i]!, { dtype, device })) as [Tensor, Tensor]
    ctx.saveForBackward(condition)
    return select(condition, a, b)
  },
  backward(ctx, grad, { shapes }) {
    const condition = ctx.saved[0]!
    const zero = full([], 0, { device: grad.device })
    return [
      undefined,
      ctx.needs[1] ? sumToInput(ctx, 1, select(condition, grad, zero), shapes[0]) : undefined,
      ctx.needs[2] ? sumToInput(ctx, 2, select(condition, zero, grad), shapes[1]) : undefined,
    ]
  },
  differentiableBackward(ctx, grad, { shapes }) {
    const condition = ctx.saved[0]!
    return [
      undefined,
      ctx.needs[1] ? sumTo(where(condition, grad, 0), shapes[0]) : undefined,
      ctx.needs[2] ? sumTo(where(condition, 0, grad), shapes[1]) : undefined,
    ]
  },
})

/**
 * Selects a where the condition is not 0 (NaN counts as not 0), else b. All three broadcast by NumPy's rules.
 * @param condition float32 or int32
 * @param a a float32 or int32 tensor, or a number, which takes the dtype of b; two numbers are float32
 * @param b a tensor of the dtype of a, or a number, which takes that dtype
 * @throws ShapeError for two dtypes, float16, a number that int32 does not hold, or shapes that do not broadcast
 */
export function where(condition: Tensor, a: Operand, b: Operand, ...extra: []): Tensor {
  checkTensor('where', condition, 'the condition')
  checkOperand('where', a)
  checkOperand('where', b)
  checkNoMore('where', extra)
  const { tensors, args } = splitOperands(a, b)
  const dtype = (tensors[0] ?? tensors[1])?.dtype ?? 'float32'
  for (const t of [condition, ...tensors]) if (t) refuseHalf('where', t)
  for (const x of [a, b]) {
    if (typeof x === 'number') {
      if (dtype === 'int32') checkInt('where', x)
    } else if (x.dtype !== dtype) {
      throw new ShapeError(`where: got ${dtype} and ${x.dtype}, takes tensors of one dtype; use cast()`)
    }
  }
  return op([condition, ...tensors], { dtype, ...args })
}
