import type * as kernels from '../../kernels/elementwise/index.ts'
import { promoteTypes } from '../autograd/autocast.ts'
import { type DifferentiableContext, defineOp, type OpContext } from '../autograd/tape.ts'
import { checkNoMore } from '../base/checks.ts'
import { ShapeError } from '../base/errors.ts'
import { equalShapes, type Shape } from '../layout/shape.ts'
import { rowMajor } from '../layout/tensorLayout.ts'
import { checkOperand } from '../tensor/arguments.ts'
import { binaryLayout, runBinary, runScalar, runUnary, runUnaryBackward } from '../tensor/pointwise.ts'
import { empty, emptyOf, type Tensor } from '../tensor/tensor.ts'
import { checkInt } from './create.ts'
import type { Operand, Shapes } from './operands.ts'
import { sumTo, sumToInput } from './shape.ts'
import { defineUnary } from './unary.ts'

/** -x, of any dtype; the least int32 wraps around to itself. */
export const neg = defineUnary('neg', (grad) => neg(grad))
/** e^x; subnormal results are 0 on both software drivers */
export const exp = defineUnary('exp', (grad, ctx) => mul(grad, ctx.output()))
/** The natural logarithm: NaN below 0, -Infinity at 0, and on SwiftShader at subnormals */
export const log = defineUnary('log', (grad, ctx) => div(grad, ctx.input(0)))
/** The square root */
export const sqrt = defineUnary('sqrt', (grad, ctx) => div(mul(grad, 0.5), ctx.output()))
/** The hyperbolic tangent */
export const tanh = defineUnary('tanh', (grad, ctx) => mul(grad, sub(1, mul(ctx.output(), ctx.output()))))
/** The gradient of relu, of the gradient and relu(x), which is linear in the first. */
const reluMask: (inputs: [grad: Tensor, y: Tensor], args: undefined) => Tensor = defineOp<[grad: Tensor, y: Tensor]>({
  name: 'relu.backward',
  forward(ctx, [grad, y]) {
    const dx = empty(y.shape, y.dtype, y.device)
    runUnaryBackward('relu', grad.contiguous(), y, dx)
    ctx.saveForBackward(y)
    return dx
  },
  backward: (ctx, grad) => [reluMask([grad, ctx.saved[0]!], undefined), undefined],
  differentiableBackward: (ctx, grad) => [reluMask([grad, ctx.saved[0]!], undefined), undefined],
})

/** max(x, 0). The gradient at 0 is 0; at NaN it passes through, as in PyTorch */
export const relu = defineUnary('relu', (grad, ctx) => reluMask([grad, ctx.saved[0]!], undefined))
/** 1 / (1 + e^-x) */
export const sigmoid = defineUnary('sigmoid', (grad, ctx) => mul(grad, mul(ctx.output(), sub(1, ctx.output()))))

/** The gradient of input i: `grad op other`, summed over the dims along which the input, of shape `shape`, was broadcast. */
function gradientOf(ctx: OpContext, i: number, shape: Shape, op: kernels.BinaryOp, grad: Tensor, other: Tensor): Tensor {
  const same = equalShapes(shape, grad.shape)
  const out = same ? ctx.gradOut(i) : empty(grad.shape, grad.dtype, grad.device)
  runBinary(op, grad, other, out)
  return same ? out : sumToInput(ctx, i, out, shape)
}

type Gradient = (ctx: OpContext, grad: Tensor, shape: Shape) => Tensor

/** By op, the gradients of its operands, which have the shape `shape`. They read the tensors that `savedFor` chooses. */
const GRADIENTS: Record<kernels.BinaryOp, readonly [a: Gradient, b: Gradient]> = {
  add: [(ctx, grad, shape) => sumToInput(ctx, 0, grad, shape), (ctx, grad, shape) => sumToInput(ctx, 1, grad, shape)],
  sub: [(ctx, grad, shape) => sumToInput(ctx, 0, grad, shape), (_, grad, shape) => neg(sumTo(grad, shape))],
  mul: [
    (ctx, grad, shape) => gradientOf(ctx, 0, shape, 'mul', grad, ctx.saved[1]!),
    (ctx, grad, shape) => gradientOf(ctx, 1, shape, 'mul', grad, ctx.saved[0]!),
  ],
  div: [
    (ctx, grad, shape) => gradientOf(ctx, 0, shape, 'div', grad, ctx.saved[1]!),
    // d(a / b) / db = -(a / b) / b, where saved[0] is the quotient a / b.
    (ctx, grad, shape) => neg(sumTo(div(mul(grad, ctx.saved[0]!), ctx.saved[1]!), shape)),
  ],
}

type Derivative = (grad: Tensor, ctx: DifferentiableContext) => Tensor

/** By op, the gradients of its operands by ops on the tape, of the result's shape. */
const DERIVATIVES: Record<kernels.BinaryOp, readonly [a: Derivative, b: Derivative]> = {
  add: [(grad) => grad, (grad) => grad],
  sub: [(grad) => grad, (grad) => neg(grad)],
  mul: [(grad, ctx) => mul(grad, ctx.input(1)), (grad, ctx) => mul(grad, ctx.input(0))],
  div: [(grad, ctx) => div(grad, ctx.input(1)), (grad, ctx) => neg(div(mul(grad, ctx.output()), ctx.input(1)))],
}

/**
 * The two tensors that the gradients of an op read: the operands, or for `div` the quotient and the divisor. Where a tensor is not needed,
 * the other one stands in its place.
 */
function savedFor(op: kernels.BinaryOp, needs: readonly boolean[], a: Tensor, b: Tensor, out: Tensor): Tensor[] {
  if (op === 'add' || op === 'sub') return []
  if (op === 'div') return [needs[1] ? out : b, b]
  return [needs[1] ? a : b, needs[0] ? b : a]
}

type ScalarCall = (s: number) => [op: kernels.ScalarOp, value: number]

/** By op, the kernel's op and number for `x op s` (right) and `s op x` (left). */
const SCALAR_KERNELS: Record<kernels.BinaryOp, { right: ScalarCall; left: ScalarCall }> = {
  add: { right: (s) => ['add', s], left: (s) => ['add', s] },
  sub: { right: (s) => ['add', -s], left: (s) => ['subFrom', s] },
  mul: { right: (s) => ['mul', s], left: (s) => ['mul', s] },
  div: { right: (s) => ['div', s], left: (s) => ['divInto', s] },
}

interface ScalarArguments {
  op: kernels.ScalarOp
  value: number
}

type ScalarOperation = (inputs: [Tensor], args: ScalarArguments) => Tensor

function defineBinary(name: kernels.BinaryOp): (a: Operand, b: Operand, ...extra: []) => Tensor {
  const tensors = defineOp<[Tensor, Tensor], Shapes>({
    name,
    forward(ctx, [a, b]) {
      const out = emptyOf(binaryLayout(name, a, b), a.dtype, a.device)
      runBinary(name, a, b, out)
      ctx.saveForBackward(...savedFor(name, ctx.needs, a, b, out))
      return out
    },
    backward: (ctx, grad, shapes) =>
      GRADIENTS[name].map((gradient, i) => (ctx.needs[i] ? gradient(ctx, grad, shapes[i]!) : undefined)),
    differentiableBackward: (ctx, grad, shapes) =>
      DERIVATIVES[name].map((derivative, i) => (ctx.needs[i] ? sumTo(derivative(grad, ctx), shapes[i]!) : undefined)),
  })
  const withNumber: ScalarOperation = defineOp<[Tensor], ScalarArguments>({
    name,
    forward(ctx, [input], { op, value }) {
      const x = input.contiguous()
      const out = emptyOf(rowMajor(x.shape), x.dtype, x.device)
      runScalar(op, x, value, out)
      if (op === 'divInto') ctx.saveForBackward(x, out)
      return out
    },
    backward(ctx, dy, { op, value }) {
      if (op === 'add') return [dy.detach()]
      if (op === 'divInto') {
        const [x, quotient] = ctx.saved as [Tensor, Tensor]
        return [neg(div(mul(dy, quotient), x))]
      }
      const grad = dy.contiguous()
      const dx = ctx.gradOut(0)
      if (op === 'subFrom') runUnary('neg', grad, dx)
      else runScalar(op, grad, value, dx)
      return [dx]
    },
    differentiableBackward(ctx, grad, { op, value }) {
      if (op === 'add') return [grad]
      if (op === 'subFrom') return [neg(grad)]
      if (op === 'divInto') return [neg(div(mul(grad, ctx.output()), ctx.input(0)))]
      return [withNumber([grad], { op, value })]
    },
  })
  return (a, b, ...extra) => {
    checkOperand(name, a)
    checkOperand(name, b)
    checkNoMore(name, extra)
    if (typeof a === 'number' && typeof b === 'number')
      throw new ShapeError(`${name}: got two numbers, takes at least one tensor`)
    if (typeof a !== 'number' && typeof b !== 'number') {
      const [left, right] = promoteTypes([a, b]) as [Tensor, Tensor]
      return tensors([left, right], [a.shape, b.shape])
    }
    const [x, s, side] = typeof a === 'number' ? [b as Tensor, a, 'left' as const] : [a, b as number, 'right' as const]
    if (x.dtype === 'int32') checkInt(name, s)
    const [op, value] = SCALAR_KERNELS[name][side](s)
    // `sub` negates the number; the negative of the least int32 wraps around to itself.
    return withNumber([x], { op, value: x.dtype === 'int32' ? value | 0 : value })
  }
}

/** a + b with NumPy's broadcasting; either may be a number. @throws ShapeError for shapes that do not broadcast */
export const add = defineBinary('add')
/** a - b with NumPy's broadcasting; either may be a number. @throws ShapeError for shapes that do not broadcast */
export const sub = defineBinary('sub')
/** a * b with NumPy's broadcasting; either may be a number. @throws ShapeError for shapes that do not broadcast */
export const mul = defineBinary('mul')
/**
 * a / b with NumPy's broadcasting; either may be a number. int32 rounds towards 0.
 * @throws ShapeError for shapes that do not broadcast
 */
export const div = defineBinary('div')
