import * as kernels from '../../kernels/elementwise/index.ts'
import { promoteTypes } from '../autograd/autocast.ts'
import { defineOp } from '../autograd/tape.ts'
import { checkNoMore } from '../base/checks.ts'
import { type Dtype, scalarOf } from '../layout/dtype.ts'
import { broadcastShapes } from '../layout/shape.ts'
import { checkOperand, checkTensor } from '../tensor/arguments.ts'
import { run } from '../tensor/run.ts'
import { operand } from '../tensor/strided.ts'
import { empty, type Tensor } from '../tensor/tensor.ts'
import { checkInt, full } from './create.ts'
import { type Operand, type OperandArguments, type OptionalTensors, splitOperands } from './operands.ts'
import { sumTo, sumToInput } from './shape.ts'

type Inputs = [condition: Tensor, a: Tensor | undefined, b: Tensor | undefined]

const typeOf = ({ dtype }: Tensor): 'f32' | 'f16' | 'i32' => (dtype === 'int32' ? 'i32' : scalarOf(dtype))

/** Launches the kernel: a where the condition is not 0, else b, all broadcast. */
function select(condition: Tensor, a: Tensor, b: Tensor): Tensor {
  const shape = broadcastShapes('where', condition.shape, broadcastShapes('where', a.shape, b.shape))
  const out = empty(shape, a.dtype, condition.device)
  const [mask, left, right] = [operand(condition, shape), operand(a, shape), operand(b, shape)]
  const types = { condition: typeOf(condition), dtype: typeOf(a) }
  const problem = kernels.whereProblem(types, mask.layout, left.layout, right.layout)
  run(kernels.where, problem, [mask.bound, left.bound, right.bound, out])
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
    const zero = full([], 0, { dtype: grad.dtype, device: grad.device })
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
 * @param condition of any dtype
 * @param a a tensor, or a number, which takes the dtype of b; two numbers are float32
 * @param b a tensor, or a number, which takes the dtype of a; tensors of two dtypes meet in the one that `promoteTypes` gives
 * @throws ShapeError for a number that int32 does not hold, or shapes that do not broadcast
 */
export function where(condition: Tensor, a: Operand, b: Operand, ...extra: []): Tensor {
  checkTensor('where', condition, 'the condition')
  checkOperand('where', a)
  checkOperand('where', b)
  checkNoMore('where', extra)
  const { tensors, args } = splitOperands(a, b)
  const given = tensors.map((t) => t !== undefined)
  const met = [...promoteTypes(tensors.flatMap((t) => t ?? []))]
  const dtype = met[0]?.dtype ?? 'float32'
  for (const x of [a, b]) if (typeof x === 'number' && dtype === 'int32') checkInt('where', x)
  const [left, right] = given.map((tensor) => (tensor ? met.shift() : undefined)) as OptionalTensors
  return op([condition, left, right], { dtype, ...args })
}
