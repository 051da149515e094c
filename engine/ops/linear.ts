import { castCached, computeDtype } from '../autograd/autocast.ts'
import { cast, castDetached } from '../autograd/cast.ts'
import { drawStream, type RandomDraw } from '../autograd/recomputation.ts'
import { defineOp, type OpContext } from '../autograd/tape.ts'
import { checkBoolean, checkNoMore } from '../base/checks.ts'
import { ShapeError } from '../base/errors.ts'
import { checkOptions, type OptionNames } from '../base/options.ts'
import { checkDtype, type Dtype, isFloat } from '../layout/dtype.ts'
import { broadcastShapes, format, type Shape } from '../layout/shape.ts'
import { checkOptionalTensor, checkTensor, mismatch } from '../tensor/arguments.ts'
import { runUnaryBackward } from '../tensor/pointwise.ts'
import { empty, type Tensor } from '../tensor/tensor.ts'
import { checkProbability, dropoutBackward, sameDropout } from './dropout.ts'
import { asRows, gemm, shaped, transposed } from './gemm.ts'
import { product, productGradients, throughGelu } from './linearDerivative.ts'
import { sumInto } from './reduce.ts'
import { sumTo, sumToInput } from './shape.ts'

export interface LinearOptions {
  /** Whether to apply GELU, the exact (erf) form, to x W^T + b; default false. */
  gelu?: boolean
  /** The probability p of dropout after that, in [0, 1]; default 0. */
  dropout?: number
  /** A tensor that is added last, in float32; it broadcasts to the result. */
  residual?: Tensor
  /** The result's dtype, float32 or float16; by default that of the residual, if any, else that of the product's operands. */
  dtype?: Dtype
}

const OPTIONS: OptionNames<LinearOptions> = { gelu: true, dropout: true, residual: true, dtype: true }

/** The shape and dtype of a residual, which backward needs without its values. */
export type ResidualType = Pick<Tensor, 'shape' | 'dtype'>

type Inputs = [x: Tensor, weight: Tensor, bias: Tensor | undefined, residual: Tensor | undefined]

interface Arguments {
  gelu: boolean
  /** The dtype of the product's operands. */
  compute: Dtype
  /** The dtype of the result. */
  dtype: Dtype
  dropout: { p: number; draw: RandomDraw } | undefined
  residual: ResidualType | undefined
  /** Whether there is a bias. */
  bias: boolean
}

const op = defineOp<Inputs, Arguments>({
  name: 'linear',
  forward(ctx, inputs, { gelu, compute, dtype, dropout }) {
    const [x, weight] = [castCached(inputs[0], compute), castCached(inputs[1], compute)]
    const [, , bias, residual] = inputs
    const { device } = x
    const shape = [...x.shape.slice(0, -1), weight.shape[0]!]
    // A vector x counts as a matrix of one row.
    const matrix = x.ndim > 1 ? shape : [1, ...shape]
    const out = empty(shape, dtype, device)
    const pre = gelu && ctx.needs.includes(true) ? empty(shape, compute, device) : undefined
    const epilogue = { bias: bias && castDetached(bias, 'float32').contiguous(), pre, gelu, dropout, residual }
    gemm(shaped(out, matrix), x.ndim > 1 ? x : asRows(x), transposed(weight), epilogue)
    ctx.saveForBackward(ctx.needs[1] ? x : undefined, ctx.needs[0] ? weight : undefined, pre)
    return out
  },
  backward(ctx, grad, { compute, dropout, residual }) {
    const [x, weight, pre] = ctx.saved as [Tensor?, Tensor?, Tensor?]
    const dOut = dropout ? gradBeforeDropout(grad, dropout) : grad
    const dCast = castDetached(dOut, compute)
    const dy = asRows(pre ? geluBackward(dCast, pre) : dCast) // [rows, out]
    const gradients = linearGradients(ctx, [0, 1, 2], { dy, x, weight, dBias: pre ? dy : asRows(dOut) })
    return [...gradients, residual && residualGradient(ctx, 3, grad, residual)]
  },
  differentiableBackward(ctx, grad, { gelu: activates, dropout, residual, bias }) {
    const dOut = dropout ? sameDropout(grad, dropout.p, dropout.draw) : grad
    const dy = activates ? throughGelu(product(ctx.input(0), ctx.input(1), bias ? ctx.input(2) : undefined), dOut) : dOut
    const gradients = productGradients(ctx, [0, 1, 2], dy, () => ctx.input(0))
    return [...gradients, residual && ctx.needs[3] ? sumTo(cast(grad, residual.dtype), residual.shape) : undefined]
  },
})

/** The tensors from which the gradients of a linear layer come. */
interface LayerGradients {
  /** The gradient of x W^T, [rows, out]. */
  dy: Tensor
  /** The input [..., in], which the gradient of weight needs. */
  x: Tensor | undefined
  /** The weight [out, in], which the gradient of x needs. */
  weight: Tensor | undefined
  /** dy, or dy before a cast to lower precision, [rows, out]; its rows add up to the gradient of bias. */
  dBias: Tensor
  /** Another gradient of x, [rows, in], which is added to this one. */
  added?: Tensor | undefined
}

/** Computes the gradients of x, weight and bias where needed. The indices say which inputs of the op these are; x may be none. */
export function linearGradients(
  ctx: OpContext,
  [atX, atWeight, atBias]: readonly [x: number | undefined, weight: number, bias: number],
  { dy, x, weight, dBias, added }: LayerGradients,
): (Tensor | undefined)[] {
  let [dx, dweight, dbias]: (Tensor | undefined)[] = []
  if (atX !== undefined && ctx.needs[atX]) {
    dx = ctx.gradOut(atX)
    gemm(shaped(dx, [dy.shape[0]!, weight!.shape[1]!]), dy, weight!, { residual: added })
  }
  if (ctx.needs[atWeight]) {
    dweight = ctx.gradOut(atWeight)
    gemm(dweight, transposed(dy), asRows(x!))
  }
  if (ctx.needs[atBias]) {
    dbias = ctx.gradOut(atBias)
    sumInto(dbias, dBias, 0, 1)
  }
  return [dx, dweight, dbias]
}

/** The gradient of a residual, input i of the op, where needed. */
export function residualGradient(ctx: OpContext, i: number, grad: Tensor, residual: ResidualType): Tensor | undefined {
  return ctx.needs[i] ? sumToInput(ctx, i, castDetached(grad, residual.dtype), residual.shape) : undefined
}

/** Returns grad * gelu'(pre). */
function geluBackward(grad: Tensor, pre: Tensor): Tensor {
  const out = empty(pre.shape, pre.dtype, pre.device)
  runUnaryBackward('gelu', grad.contiguous(), pre, out)
  return out
}

/** Takes a gradient back through dropout, in float32. */
function gradBeforeDropout(grad: Tensor, { p, draw }: NonNullable<Arguments['dropout']>): Tensor {
  const out = empty(grad.shape, 'float32', grad.device)
  dropoutBackward(p, draw, castDetached(grad, 'float32'), out)
  return out
}

/** Checks that a residual, if any, broadcasts to the shape of a result. @throws ShapeError if it does not */
export function residualType(op: string, residual: Tensor | undefined, shape: Shape): ResidualType | undefined {
  if (!residual) return undefined
  if (format(broadcastShapes(op, residual.shape, shape)) !== format(shape)) {
    throw new ShapeError(`${op}: a residual ${format(residual.shape)} does not broadcast to the result ${format(shape)}`)
  }
  return { shape: residual.shape, dtype: residual.dtype }
}

/**
 * Computes x W^T + b in one kernel, and with options dropout(gelu(x W^T + b)) + residual. Rows of a larger tensor (such as one token of each
 * sequence) are read where they lie.
 * @param x [..., in], float32 or float16
 * @param weight [out, in] as in PyTorch, of the dtype of x; inside `autocast` x and weight are cast to its dtype
 * @param bias [out], float32 or float16
 * @param options.gelu whether to apply the exact (erf) GELU
 * @param options.dropout the probability of dropout; the mask is the one that `dropout` would draw. A model gives it in training only
 * @param options.residual float32 or float16, broadcasts to the result; it is added last
 * @param options.dtype the result's dtype; see LinearOptions
 * @returns [..., out]
 * @throws ShapeError for other dtypes, shapes that do not fit, or a probability outside [0, 1]; ArgumentError for an unknown option
 */
export function linear(x: Tensor, weight: Tensor, bias?: Tensor, options: LinearOptions = {}, ...extra: []): Tensor {
  checkTensor('linear', x)
  checkTensor('linear', weight, 'weight')
  checkOptionalTensor('linear', bias, 'bias')
  checkOptions('linear', options, OPTIONS)
  checkNoMore('linear', extra)
  const { gelu = false, residual, dropout: p = 0 } = options
  checkBoolean('linear', gelu, 'gelu')
  checkOptionalTensor('linear', residual, 'residual')
  const inputs: Inputs = [x, weight, bias, residual]
  const outputs = weight.shape[0]
  const fits = weight.ndim === 2 && x.shape.at(-1) === weight.shape[1] && (!bias || format(bias.shape) === `[${outputs}]`)
  const compute = computeDtype([x, weight])
  if (!fits || !compute || inputs.some((t) => t && !isFloat(t.dtype))) {
    throw mismatch('linear', inputs, '[..., in], [out, in] of one dtype, float32 or float16, and [out]')
  }
  const added = residualType('linear', residual, [...x.shape.slice(0, -1), outputs!])
  checkProbability('linear', p)
  const dtype = options.dtype ?? residual?.dtype ?? compute
  checkDtype('linear', dtype, x.device)
  const dropout = p > 0 ? { p, draw: drawStream(x.device.random) } : undefined
  return op(inputs, { gelu, compute, dtype, dropout, residual: added, bias: bias !== undefined })
}
