import { castCached, computeDtype } from '../autograd/autocast.ts'
import { castDetached } from '../autograd/cast.ts'
import { drawStream, type RandomDraw } from '../autograd/recomputation.ts'
import { defineOp, type OpContext } from '../autograd/tape.ts'
import { checkBoolean, checkNoMore } from '../base/checks.ts'
import { ShapeError } from '../base/errors.ts'
import { checkOptions, type OptionNames } from '../base/options.ts'
import { checkDtype, type Dtype, isFloat } from '../layout/dtype.ts'
import { broadcastShapes, format } from '../layout/shape.ts'
import { checkOptionalTensor, checkTensor } from '../tensor/arguments.ts'
import { runUnaryBackward } from '../tensor/pointwise.ts'
import { empty, type Tensor } from '../tensor/tensor.ts'
import { checkProbability, dropoutBackward } from './dropout.ts'
import { asRows, gemm, shaped, transposed } from './gemm.ts'
import { sumInto } from './reduce.ts'
import { sumToInput } from './shape.ts'

export interface LinearOptions {
  /** gelu(x W^T + b), the exact (erf) form. */
  gelu?: boolean
  /** Probability that an element of that becomes 0, in [0, 1]; the others are divided by 1 - p. */
  dropout?: number
  /** Added after that, in float32; broadcasts to the result. */
  residual?: Tensor
  /** Of the result: float32 or float16. Default the residual's where there is one, else what the product computes with. */
  dtype?: Dtype
}

const OPTIONS: OptionNames<LinearOptions> = { gelu: true, dropout: true, residual: true, dtype: true }

/** What backward has to know of an input. */
export type Kept = Pick<Tensor, 'shape' | 'dtype'>

type Inputs = [x: Tensor, weight: Tensor, bias: Tensor | undefined, residual: Tensor | undefined]

interface Arguments {
  gelu: boolean
  /** What the product computes with, and what it gives. */
  compute: Dtype
  dtype: Dtype
  dropout: { p: number; draw: RandomDraw } | undefined
  residual: Kept | undefined
}

const op = defineOp<Inputs, Arguments>({
  name: 'linear',
  forward(ctx, [givenX, givenWeight, bias, residual], { gelu, compute, dtype, dropout }) {
    const [x, weight] = [castCached(givenX, compute), castCached(givenWeight, compute)]
    const { device } = x
    const shape = [...x.shape.slice(0, -1), weight.shape[0]!]
    // A vector is one row.
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
    const kept = dropout ? undropped(grad, dropout) : grad
    const narrow = castDetached(kept, compute)
    const dy = asRows(pre ? geluBackward(narrow, pre) : narrow) // [rows, out]
    const gradients = linearGradients(ctx, [0, 1, 2], { dy, x, weight, sums: pre ? dy : asRows(kept) })
    return [...gradients, residual && residualGradient(ctx, 3, grad, residual)]
  },
})

/** What the gradients of a layer come from. */
interface LayerGradients {
  /** Gradient of its product, [rows, out]. */
  dy: Tensor
  /** [..., in]; the gradient of weight needs it. */
  x: Tensor | undefined
  /** [out, in]; the gradient of x needs it. */
  weight: Tensor | undefined
  /** What adds up to the bias' gradient: dy, in the dtype it came in. */
  sums: Tensor
}

/** Gradients of x, weight and bias, the inputs of these numbers; x may be none. */
export function linearGradients(
  ctx: OpContext,
  [atX, atWeight, atBias]: readonly [x: number | undefined, weight: number, bias: number],
  { dy, x, weight, sums }: LayerGradients,
): (Tensor | undefined)[] {
  let [dx, dweight, dbias]: (Tensor | undefined)[] = []
  if (atX !== undefined && ctx.needs[atX]) {
    dx = ctx.gradOut(atX)
    gemm(shaped(dx, [dy.shape[0]!, weight!.shape[1]!]), dy, weight!)
  }
  if (ctx.needs[atWeight]) {
    dweight = ctx.gradOut(atWeight)
    gemm(dweight, transposed(dy), asRows(x!))
  }
  if (ctx.needs[atBias]) {
    dbias = ctx.gradOut(atBias)
    sumInto(dbias, sums, 0, 1)
  }
  return [dx, dweight, dbias]
}

/** Gradient of what was added to a result, input i. */
export function residualGradient(ctx: OpContext, i: number, grad: Tensor, residual: Kept): Tensor | undefined {
  return ctx.needs[i] ? sumToInput(ctx, i, castDetached(grad, residual.dtype), residual.shape) : undefined
}

/** grad gelu'(pre) */
function geluBackward(given: Tensor, pre: Tensor): Tensor {
  const grad = given.contiguous()
  const out = empty(pre.shape, pre.dtype, pre.device)
  runUnaryBackward('gelu', grad, pre, out)
  return out
}

/** The gradient behind dropout, float32. */
function undropped(grad: Tensor, { p, draw }: NonNullable<Arguments['dropout']>): Tensor {
  const out = empty(grad.shape, 'float32', grad.device)
  dropoutBackward(p, draw, castDetached(grad, 'float32'), out)
  return out
}

/**
 * x W^T + b, and what may follow it, in one kernel. Rows of a larger tensor (such as one token of each sequence) are read
 * where they lie.
 * @param x [..., in], float32 or float16
 * @param weight [out, in], PyTorch's layout, of x's dtype; inside `autocast` both are taken in its dtype
 * @param bias [out], float32 or float16
 * @param options.gelu whether to apply the exact (erf) GELU
 * @param options.dropout as `dropout` does, which draws the same; a model gives it in training only
 * @param options.residual float32 or float16, broadcasts to the result; added last
 * @param options.dtype of the result
 * @returns [..., out]
 * @throws ShapeError for other dtypes or p, or shapes that do not match; ArgumentError for an unknown option
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
  const tensors = [x, weight, bias, residual]
  const outputs = weight.shape[0]
  const matches = weight.ndim === 2 && x.shape.at(-1) === weight.shape[1] && (!bias || format(bias.shape) === `[${outputs}]`)
  const compute = computeDtype([x, weight])
  if (!matches || !compute || tensors.some((t) => t && !isFloat(t.dtype))) {
    const got = tensors.flatMap((t) => (t ? [`${t.dtype} ${format(t.shape)}`] : [])).join(', ')
    throw new ShapeError(`linear: got ${got}; takes [..., in], [out, in] of one dtype, float32 or float16, and [out]`)
  }
  const shape = [...x.shape.slice(0, -1), outputs!]
  if (residual && format(broadcastShapes('linear', residual.shape, shape)) !== format(shape)) {
    throw new ShapeError(`linear: a residual ${format(residual.shape)} does not broadcast to the result ${format(shape)}`)
  }
  checkProbability('linear', p)
  const dtype = options.dtype ?? residual?.dtype ?? compute
  checkDtype('linear', dtype, x.device)
  const kept = residual && { shape: residual.shape, dtype: residual.dtype }
  const dropout = p > 0 ? { p, draw: drawStream(x.device.random) } : undefined
  return op([x, weight, bias, residual], { gelu, compute, dtype, dropout, residual: kept })
}
