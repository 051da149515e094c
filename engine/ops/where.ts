import { whereInt, where as whereKernel, whereProblem } from '../../kernels/elementwise/index.ts'
import { defineOp } from '../autograd/tape.ts'
import { checkNoMore } from '../base/checks.ts'
import { ShapeError } from '../base/errors.ts'
import { type Dtype, refuseHalf } from '../layout/dtype.ts'
import { broadcastShapes, type Shape } from '../layout/shape.ts'
import { checkOperand, checkTensor } from '../tensor/arguments.ts'
import { run } from '../tensor/run.ts'
import { operand } from '../tensor/strided.ts'
import { empty, type Tensor } from '../tensor/tensor.ts'
import { checkInt, full } from './create.ts'
import type { Operand } from './elementwise.ts'
import { sumToInput } from './shape.ts'

type Inputs = [condition: Tensor, a: Tensor | undefined, b: Tensor | undefined]

/** Numbers take the place of missing operands. */
interface Arguments {
  dtype: Dtype
  numbers: [number, number]
  shapes: [Shape, Shape]
}

function select(condition: Tensor, a: Tensor, b: Tensor): Tensor {
  const shape = broadcastShapes('where', condition.shape, broadcastShapes('where', a.shape, b.shape))
  const out = empty(shape, a.dtype, condition.device)
  const [test, left, right] = [operand(condition, shape), operand(a, shape), operand(b, shape)]
  const problem = whereProblem(shape, test.layout, left.layout, right.layout)
  run(condition.dtype === 'int32' ? whereInt : whereKernel, problem, [test.bound, left.bound, right.bound, out])
  return out
}

const op = defineOp<Inputs, Arguments>({
  name: 'where',
  forward(ctx, [condition, ...operands], { dtype, numbers }) {
    const { device } = condition
    const [a, b] = operands.map((one, i) => one ?? full([], numbers[i]!, { dtype, device })) as [Tensor, Tensor]
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
})

/**
 * a where the condition is not 0 (as NaN is not), else b, with NumPy's broadcasting of all three.
 * @param condition float32 or int32
 * @param a of b's dtype, or a number, which takes it; two numbers are float32
 * @param b of a's dtype, or a number, which takes it
 * @throws ShapeError for two dtypes, float16, or shapes that do not broadcast
 */
export function where(condition: Tensor, a: Operand, b: Operand, ...extra: []): Tensor {
  checkTensor('where', condition, 'the condition')
  checkOperand('where', a)
  checkOperand('where', b)
  checkNoMore('where', extra)
  const operands = [a, b].map((one) => (typeof one === 'number' ? undefined : one)) as [Tensor | undefined, Tensor | undefined]
  const dtype = (operands[0] ?? operands[1])?.dtype ?? 'float32'
  for (const one of [condition, ...operands]) if (one) refuseHalf('where', one)
  for (const one of [a, b]) {
    if (typeof one === 'number') {
      if (dtype === 'int32') checkInt('where', one)
    } else if (one.dtype !== dtype) {
      throw new ShapeError(`where: got ${dtype} and ${one.dtype}, takes tensors of one dtype; use cast()`)
    }
  }
  const numbers = [a, b].map((one) => (typeof one === 'number' ? one : 0)) as [number, number]
  return op([condition, ...operands], { dtype, numbers, shapes: [operands[0]?.shape ?? [], operands[1]?.shape ?? []] })
}
