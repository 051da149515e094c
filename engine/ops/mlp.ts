import { castCached, computeDtype } from '../autograd/autocast.ts'
import { castDetached } from '../autograd/cast.ts'
import { defineOp } from '../autograd/tape.ts'
import { checkNoMore } from '../base/checks.ts'
import { ShapeError } from '../base/errors.ts'
import { type Dtype, isFloat } from '../layout/dtype.ts'
import { broadcastShapes, format } from '../layout/shape.ts'
import { checkOptionalTensor, checkTensor } from '../tensor/arguments.ts'
import { empty, type Tensor } from '../tensor/tensor.ts'
import { asRows, gemm, shaped, transposed } from './gemm.ts'
import { type Kept, linearGradients, residualGradient } from './linear.ts'

type Inputs = [x: Tensor, weight1: Tensor, bias1: Tensor, weight2: Tensor, bias2: Tensor, residual: Tensor | undefined]

/** `compute`: what the products compute with; `dtype`: of the result. */
type Arguments = { compute: Dtype; dtype: Dtype; residual: Kept | undefined }

const op = defineOp<Inputs, Arguments>({
  name: 'mlp',
  forward(ctx, [givenX, given1, bias1, given2, bias2, residual], { compute, dtype }) {
    const [x, weight1, weight2] = [castCached(givenX, compute), castCached(given1, compute), castCached(given2, compute)]
    const { device } = x
    const rows = asRows(x) // [rows, in]
    const wide = [rows.shape[0]!, weight1.shape[0]!]
    const hidden = empty(wide, compute, device)
    const pre = ctx.needs.includes(true) ? empty(wide, compute, device) : undefined
    gemm(hidden, rows, transposed(weight1), { bias: castDetached(bias1, 'float32').contiguous(), pre, gelu: true })
    const out = empty([...x.shape.slice(0, -1), weight2.shape[0]!], dtype, device)
    const matrix = out.ndim > 1 ? out : shaped(out, [1, out.size])
    const last = { bias: castDetached(bias2, 'float32').contiguous(), residual }
    gemm(matrix, shaped(hidden, [...matrix.shape.slice(0, -1), wide[1]!]), transposed(weight2), last)
    const [toX, toWeight1, , toWeight2] = ctx.needs
    const toFirst = ctx.needs.slice(0, 3).includes(true)
    ctx.saveForBackward(
      toWeight1 ? x : undefined,
      toX ? weight1 : undefined,
      toFirst ? weight2 : undefined,
      toWeight2 ? hidden : undefined,
      toFirst ? pre : undefined,
    )
    return out
  },
  backward(ctx, grad, { compute, residual }) {
    const [x, weight1, weight2, hidden, pre] = ctx.saved as (Tensor | undefined)[]
    const dy = asRows(castDetached(grad, compute)) // [rows, out]
    const layer2 = { dy, x: hidden, weight: weight2, sums: asRows(grad) }
    const [, dweight2, dbias2] = linearGradients(ctx, [undefined, 3, 4], layer2)
    let first: readonly (Tensor | undefined)[] = [undefined, undefined, undefined]
    if (weight2 && pre) {
      // gelu'(pre) comes with the product that gives the gradient of what GELU gave.
      const dpre = empty(pre.shape, compute, pre.device) // [rows, hidden]
      gemm(dpre, dy, weight2, { geluGrad: pre })
      first = linearGradients(ctx, [0, 1, 2], { dy: dpre, x, weight: weight1, sums: dpre })
    }
    return [...first, dweight2, dbias2, residual && residualGradient(ctx, 5, grad, residual)]
  },
})

/**
 * gelu(x W1^T + b1) W2^T + b2, and a residual added to it: the MLP of a Transformer layer. Two kernels forward; backward the
 * derivative of GELU (the exact, erf form) is part of a product too.
 * @param x [..., in], float32 or float16
 * @param weight1 [hidden, in], of x's dtype; inside `autocast` products are taken in its dtype
 * @param bias1 [hidden], float32 or float16
 * @param weight2 [out, hidden]
 * @param bias2 [out]
 * @param residual float32 or float16, broadcasts to the result
 * @returns [..., out], of the residual's dtype where there is one, else of what the products compute with
 * @throws ShapeError for other dtypes, or shapes that do not match
 */
export function mlp(
  x: Tensor,
  weight1: Tensor,
  bias1: Tensor,
  weight2: Tensor,
  bias2: Tensor,
  residual?: Tensor,
  ...extra: []
): Tensor {
  checkTensor('mlp', x)
  checkTensor('mlp', weight1, 'weight1')
  checkTensor('mlp', bias1, 'bias1')
  checkTensor('mlp', weight2, 'weight2')
  checkTensor('mlp', bias2, 'bias2')
  checkOptionalTensor('mlp', residual, 'residual')
  checkNoMore('mlp', extra)
  const tensors = [x, weight1, bias1, weight2, bias2, residual]
  const [wide, outputs] = [weight1.shape[0], weight2.shape[0]]
  const shapes = [[wide, x.shape.at(-1)], [wide], [outputs, wide], [outputs]]
  const matches = tensors.slice(1, 5).every((t, i) => `${t!.shape}` === `${shapes[i]}`) && x.ndim > 0 && weight2.ndim === 2
  const compute = matches ? computeDtype([x, weight1, weight2]) : undefined
  if (!compute || tensors.some((t) => t && !isFloat(t.dtype))) {
    const got = tensors.flatMap((t) => (t ? [`${t.dtype} ${format(t.shape)}`] : [])).join(', ')
    throw new ShapeError(`mlp: got ${got}; takes [..., in], [hidden, in], [hidden], [out, hidden], [out] in float32 or float16`)
  }
  const shape = [...x.shape.slice(0, -1), outputs!]
  if (residual && format(broadcastShapes('mlp', residual.shape, shape)) !== format(shape)) {
    throw new ShapeError(`mlp: a residual ${format(residual.shape)} does not broadcast to the result ${format(shape)}`)
  }
  const kept = residual && { shape: residual.shape, dtype: residual.dtype }
  const dtype = residual?.dtype ?? compute
  return op([x, weight1, bias1, weight2, bias2, residual], { compute, dtype, residual: kept })
}
