import { computeDtype, computed } from '../autocast.ts'
import { defineOp } from '../autograd.ts'
import { checkDtype, type Dtype, isFloat } from '../dtype.ts'
import { ShapeError } from '../errors.ts'
import { broadcastShapes, format } from '../shape.ts'
import { empty, type Tensor } from '../tensor.ts'
import { converted } from './cast.ts'
import { runUnaryBackward } from './pointwise.ts'
import { asRows, product, shaped, transposed } from './product.ts'
import { sumInto } from './reduce.ts'
import { sumToInput } from './shape.ts'

export interface LinearOptions {
  /** gelu(x W^T + b), the exact (erf) form. */
  gelu?: boolean
  /** Added after that, in float32; broadcasts to the result. */
  residual?: Tensor
  /** Of the result: float32 or float16. Default the residual's where there is one, else what the product computes with. */
  dtype?: Dtype
}

type Inputs = [x: Tensor, weight: Tensor, bias: Tensor | undefined, residual: Tensor | undefined]

interface Arguments {
  gelu: boolean
  /** What the product computes with, and what it gives. */
  compute: Dtype
  dtype: Dtype
  residual: Pick<Tensor, 'shape' | 'dtype'> | undefined
}

const op = defineOp<Inputs, Arguments>({
  name: 'linear',
  forward(ctx, [givenX, givenWeight, bias, residual], { gelu, compute, dtype }) {
    const [x, weight] = [computed(givenX, compute), computed(givenWeight, compute)]
    const { device } = x
    const shape = [...x.shape.slice(0, -1), weight.shape[0]!]
    // A vector is one row.
    const matrix = x.ndim > 1 ? shape : [1, ...shape]
    const out = empty(shape, dtype, device)
    const pre = gelu && ctx.needs.includes(true) ? empty(shape, compute, device) : undefined
    const epilogue = { bias: bias && converted(bias, 'float32').contiguous(), pre, gelu, residual }
    product(shaped(out, matrix), x.ndim > 1 ? x : asRows(x), transposed(weight), epilogue)
    ctx.saveForBackward(x, weight, ...(pre ? [pre] : []))
    return out
  },
  backward(ctx, grad, { compute, residual }) {
    const [x, weight, pre] = ctx.saved as [Tensor, Tensor, Tensor?]
    const narrow = converted(grad, compute)
    const dy = asRows(pre ? geluBackward(narrow, pre) : narrow) // [rows, out]
    let [dx, dweight, dbias]: (Tensor | undefined)[] = []
    if (ctx.needs[0]) {
      dx = ctx.gradOut(0)
      product(shaped(dx, [dy.shape[0]!, weight.shape[1]!]), dy, weight)
    }
    if (ctx.needs[1]) {
      dweight = ctx.gradOut(1)
      product(dweight, transposed(dy), asRows(x))
    }
    if (ctx.needs[2]) {
      dbias = ctx.gradOut(2)
      sumInto(dbias, pre ? dy : asRows(grad), 0, 1)
    }
    const dresidual = residual && ctx.needs[3] ? sumToInput(ctx, 3, converted(grad, residual.dtype), residual.shape) : undefined
    return [dx, dweight, dbias, dresidual]
  },
})

/** grad gelu'(pre) */
function geluBackward(given: Tensor, pre: Tensor): Tensor {
  const grad = given.contiguous()
  const out = empty(pre.shape, pre.dtype, pre.device)
  runUnaryBackward('gelu', grad, pre, out)
  return out
}

/**
 * x W^T + b, and what may follow it, in one kernel. Rows of a larger tensor (such as one token of each sequence) are read
 * where they lie.
 * @param x [..., in], float32 or float16
 * @param weight [out, in], PyTorch's layout, of x's dtype; inside `autocast` both are taken in its dtype
 * @param bias [out], float32 or float16
 * @param options.gelu whether to apply the exact (erf) GELU
 * @param options.residual float32 or float16, broadcasts to the result; added last
 * @param options.dtype of the result
 * @returns [..., out]
 * @throws ShapeError for other dtypes, or shapes that do not match
 */
export function linear(x: Tensor, weight: Tensor, bias?: Tensor, options: LinearOptions = {}): Tensor {
  const { gelu = false, residual } = options
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
  const dtype = options.dtype ?? residual?.dtype ?? compute
  checkDtype('linear', dtype, x.device)
  const kept = residual && { shape: residual.shape, dtype: residual.dtype }
  return op([x, weight, bias, residual], { gelu, compute, dtype, residual: kept })
}
