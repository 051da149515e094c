import * as kernels from '../../kernels/pairwise/pairwise.ts'
import { promoteTypes } from '../autograd/autocast.ts'
import { toFloat } from '../autograd/cast.ts'
import { type DifferentiableContext, defineOp, noGrad, type OpContext } from '../autograd/tape.ts'
import { checkNoMore } from '../base/checks.ts'
import { ShapeError } from '../base/errors.ts'
import { scalarOf } from '../layout/dtype.ts'
import { broadcastShapes, format, type Shape } from '../layout/shape.ts'
import { checkOperand } from '../tensor/arguments.ts'
import { run } from '../tensor/run.ts'
import { operand } from '../tensor/strided.ts'
import { empty, type Tensor } from '../tensor/tensor.ts'
import { eq, gt, lt } from './compare.ts'
import { checkInt, full } from './create.ts'
import { add, div, mul, neg, sub } from './elementwise.ts'
import { type Operand, type OperandArguments, type OptionalTensors, splitOperands, wordBeside } from './operands.ts'
import { sumTo, sumToInput } from './shape.ts'
import { where } from './where.ts'

const typeOf = ({ dtype }: Tensor): kernels.PairwiseType => (dtype === 'int32' ? 'i32' : scalarOf(dtype))

/** The operands as tensors; a number becomes one of rank 0. */
function bothTensors(inputs: readonly (Tensor | undefined)[], numbers: readonly number[]): [Tensor, Tensor] {
  const { device, dtype } = (inputs[0] ?? inputs[1])!
  return inputs.map((t, i) => t ?? full([], numbers[i]!, { device, dtype })) as [Tensor, Tensor]
}

/** The gradient of operand i, which has the shape `shape`. */
function gradientOf(ctx: OpContext, op: kernels.PairwiseOp, i: number, grad: Tensor, pair: [Tensor, Tensor], shape: Shape) {
  const same = format(shape) === format(grad.shape)
  const out = same ? ctx.gradOut(i) : empty(grad.shape, grad.dtype, grad.device)
  const [top, a, b] = [operand(grad), ...pair.map((t) => operand(t, grad.shape))] as [Bound, Bound, Bound]
  const what = { op, dtype: scalarOf(grad.dtype), other: i === 1 }
  const problem = kernels.pairwiseBackwardProblem(what, top.layout, a.layout, b.layout)
  run(kernels.pairwiseBackward, problem, [top.bound, a.bound, b.bound, out])
  return same ? out : sumToInput(ctx, i, out, shape)
}

type Bound = ReturnType<typeof operand>

type Derivative = (grad: Tensor, a: Tensor, b: Tensor, ctx: DifferentiableContext) => Tensor

/** The gradient of the operand that loses where `loses` holds: half of it at a tie. */
function shared(grad: Tensor, loses: Tensor, ties: Tensor): Tensor {
  return where(loses, 0, where(ties, mul(grad, 0.5), grad))
}

/** By op, the gradients of its operands by ops on the tape, of the result's shape. */
const DERIVATIVES: Record<kernels.PairwiseOp, readonly [a: Derivative, b: Derivative]> = {
  minimum: [(grad, a, b) => shared(grad, gt(a, b), eq(a, b)), (grad, a, b) => shared(grad, lt(a, b), eq(a, b))],
  maximum: [(grad, a, b) => shared(grad, lt(a, b), eq(a, b)), (grad, a, b) => shared(grad, gt(a, b), eq(a, b))],
  atan2: [
    (grad, a, b) => div(mul(grad, b), add(mul(a, a), mul(b, b))),
    (grad, a, b) => neg(div(mul(grad, a), add(mul(a, a), mul(b, b)))),
  ],
  // The quotient floor(a / b) is a constant wherever the gradient exists.
  remainder: [
    (grad) => grad,
    (grad, a, b, ctx) =>
      neg(
        mul(
          grad,
          noGrad(() => wholeQuotient(sub(a, ctx.output()), b)),
        ),
      ),
  ],
}

function wholeQuotient(multiple: Tensor, b: Tensor): Tensor {
  return div(multiple, b).detach()
}

function define(name: kernels.PairwiseOp): (a: Operand, b: Operand, ...extra: []) => Tensor {
  const op = defineOp<OptionalTensors, OperandArguments & { given: readonly boolean[] }>({
    name,
    forward(ctx, inputs, { numbers, given }) {
      const x = (inputs[0] ?? inputs[1])!
      if (given.includes(false)) {
        const { device, dtype, shape, size } = x
        const source = x.contiguous()
        const out = empty(shape, dtype, device)
        const swapped = !given[0]
        const number = wordBeside(name, x, numbers[swapped ? 0 : 1])
        run(kernels.pairwiseNumber, { op: name, dtype: typeOf(x), count: size, number, swapped }, [source, out])
        save(ctx, swapped ? [undefined, source] : [source, undefined], out)
        return out
      }
      const [a, b] = inputs as [Tensor, Tensor]
      const out = empty(broadcastShapes(name, a.shape, b.shape), a.dtype, a.device)
      const [left, right] = [operand(a, out.shape), operand(b, out.shape)]
      const problem = kernels.pairwiseProblem(name, typeOf(a), left.layout, right.layout)
      run(kernels.pairwise, problem, [left.bound, right.bound, out])
      save(ctx, [a, b], out)
      return out
    },
    backward(ctx, grad, { numbers, shapes, given }) {
      const pair = bothTensors(
        given.map((tensor, i) => (tensor ? ctx.saved[i] : undefined)),
        numbers,
      )
      return shapes.map((shape, i) => (ctx.needs[i] ? gradientOf(ctx, name, i, grad, pair, shape) : undefined))
    },
    differentiableBackward(ctx, grad, { numbers, shapes, given }) {
      const [a, b] = bothTensors(
        given.map((tensor, i) => (tensor ? ctx.input(i) : undefined)),
        numbers,
      )
      return DERIVATIVES[name].map((derivative, i) =>
        ctx.needs[i] ? sumTo(derivative(grad, a, b, ctx), shapes[i]!) : undefined,
      )
    },
  })
  /** Only the second derivative of the remainder reads its result. */
  const save = (ctx: OpContext, operands: readonly (Tensor | undefined)[], out: Tensor) =>
    ctx.saveForBackward(...operands, ...(name === 'remainder' ? [out] : []))
  return (a, b, ...extra) => {
    checkOperand(name, a)
    checkOperand(name, b)
    checkNoMore(name, extra)
    const { tensors, args } = splitOperands(a, b)
    const given = tensors.map((t) => t !== undefined)
    const found = tensors.flatMap((t) => (t ? [name === 'atan2' ? toFloat(t) : t] : []))
    if (found.length === 0) throw new ShapeError(`${name}: got two numbers, takes at least one tensor`)
    if (found.length === 1 && found[0]!.dtype === 'int32') checkInt(name, args.numbers[given[0] ? 1 : 0])
    const met = [...promoteTypes(found)]
    return op(given.map((tensor) => (tensor ? met.shift() : undefined)) as OptionalTensors, { ...args, given })
  }
}

/**
 * The smaller one of a and b with NumPy's broadcasting, of any dtype; either may be a number. NaN in either gives NaN. At a tie each
 * gets half of the gradient, as in PyTorch.
 * @throws ShapeError for shapes that do not broadcast, or a number that int32 does not hold
 */
export const minimum = define('minimum')
/**
 * The larger one of a and b with NumPy's broadcasting, of any dtype; either may be a number. NaN in either gives NaN. At a tie each
 * gets half of the gradient, as in PyTorch.
 * @throws ShapeError for shapes that do not broadcast, or a number that int32 does not hold
 */
export const maximum = define('maximum')
/**
 * The angle of the point (b, a) in radians, from -pi to pi, with NumPy's broadcasting; either may be a number. int32 is computed in
 * float32.
 * @throws ShapeError for shapes that do not broadcast
 */
export const atan2 = define('atan2')
/**
 * a - b floor(a / b) with NumPy's broadcasting, exact and with the sign of b as in NumPy and PyTorch, of any dtype; either may be a
 * number. A divisor of 0 gives NaN, of int32 0.
 * @throws ShapeError for shapes that do not broadcast, or a number that int32 does not hold
 */
export const remainder = define('remainder')
