import { castCached, computeDtype } from '../autograd/autocast.ts'
import { cast, castDetached } from '../autograd/cast.ts'
import { defineOp } from '../autograd/tape.ts'
import { checkNoMore } from '../base/checks.ts'
import { type Dtype, isFloat } from '../layout/dtype.ts'
import { checkOptionalTensor, checkTensor, mismatch } from '../tensor/arguments.ts'
import { empty, type Tensor } from '../tensor/tensor.ts'
import { exactGelu } from './exactGelu.ts'
import { asRows, gemm, shaped, transposed } from './gemm.ts'
import { linearGradients, type ResidualType, residualGradient, residualType } from './linear.ts'
import { product, productGradients, throughGelu } from './linearDerivative.ts'
import { matmul } from './matmul.ts'
import { sumTo } from './shape.ts'

type Inputs = [x: Tensor, weight1: Tensor, bias1: Tensor, weight2: Tensor, bias2: Tensor, residual: Tensor | undefined]

interface Arguments {
  /** The dtype of the operands of both products. */
  compute: Dtype
  /** The dtype of the result. */
  dtype: Dtype
  residual: ResidualType | undefined
  /** Whether the residual is x, so that their gradients are one. */
  isOwnResidual: boolean
}

const op = defineOp<Inputs, Arguments>({
  name: 'mlp',
  forward(ctx, inputs, { compute, dtype }) {
    const [x, weight1, weight2] = [
      castCached(inputs[0], compute),
      castCached(inputs[1], compute),
      castCached(inputs[3], compute),
    ]
    const [bias1, bias2] = [castDetached(inputs[2], 'float32').contiguous(), castDetached(inputs[4], 'float32').contiguous()]
    const { device } = x
    const rows = asRows(x) // [rows, in]
    const width = weight1.shape[0]!
    const hidden = empty([rows.shape[0]!, width], compute, device) // [rows, hidden]
    const pre = ctx.needs.includes(true) ? empty(hidden.shape, compute, device) : undefined
    gemm(hidden, rows, transposed(weight1), { bias: bias1, pre, gelu: true })
    const out = empty([...x.shape.slice(0, -1), weight2.shape[0]!], dtype, device)
    const matrix = out.ndim > 1 ? out : shaped(out, [1, out.size]) // [..., out]
    const operand = shaped(hidden, [...matrix.shape.slice(0, -1), width])
    gemm(matrix, operand, transposed(weight2), { bias: bias2, residual: inputs[5] })
    const [needsX, needsWeight1, , needsWeight2] = ctx.needs
    const needsLayer1 = ctx.needs.slice(0, 3).includes(true)
    ctx.saveForBackward(
      needsWeight1 ? x : undefined,
      needsX ? weight1 : undefined,
      needsLayer1 ? weight2 : undefined,
      needsWeight2 ? hidden : undefined,
      needsLayer1 ? pre : undefined,
    )
    return out
  },
  backward(ctx, grad, { compute, residual, isOwnResidual }) {
    const [x, weight1, weight2, hidden, pre] = ctx.saved as (Tensor | undefined)[]
    const dy = asRows(castDetached(grad, compute)) // [rows, out]
    const layer2 = { dy, x: hidden, weight: weight2, dBias: asRows(grad) }
    const [, dweight2, dbias2] = linearGradients(ctx, [undefined, 3, 4], layer2)
    let layer1: readonly (Tensor | undefined)[] = [undefined, undefined, undefined]
    if (weight2 && pre) {
      // The epilogue of the product multiplies by gelu'(pre).
      const dpre = empty(pre.shape, compute, pre.device) // [rows, hidden]
      gemm(dpre, dy, weight2, { geluGrad: pre })
      const added = isOwnResidual ? asRows(grad) : undefined
      layer1 = linearGradients(ctx, [0, 1, 2], { dy: dpre, x, weight: weight1, dBias: dpre, added })
    }
    const dresidual = residual && !isOwnResidual ? residualGradient(ctx, 5, grad, residual) : undefined
    return [...layer1, dweight2, dbias2, dresidual]
  },
  differentiableBackward(ctx, grad, { residual }) {
    const pre = product(ctx.input(0), ctx.input(1), ctx.input(2))
    const [, dweight2, dbias2] = productGradients(ctx, [undefined, 3, 4], grad, () => exactGelu(pre))
    const dpre = ctx.needs.slice(0, 3).includes(true) ? throughGelu(pre, matmul(grad, ctx.input(3))) : undefined
    const layer1 = dpre ? productGradients(ctx, [0, 1, 2], dpre, () => ctx.input(0)) : [undefined, undefined, undefined]
    const dresidual = residual && ctx.needs[5] ? sumTo(cast(grad, residual.dtype), residual.shape) : undefined
    return [...layer1, dweight2, dbias2, dresidual]
  },
})

/**
 * The MLP of a Transformer layer, gelu(x W1^T + b1) W2^T + b2 + residual, with the exact (erf) GELU. Forward takes two kernels; backward
 * computes the derivative of GELU in the epilogue of a product.
 * @param x [..., in], float32 or float16
 * @param weight1 [hidden, in], of the dtype of x and weight2; inside `autocast` all three are cast to its dtype
 * @param bias1 [hidden], float32 or float16
 * @param weight2 [out, hidden]
 * @param bias2 [out], float32 or float16
 * @param residual float32 or float16, broadcasts to the result
 * @returns [..., out], of the dtype of the residual, if any, else of the products' operands
 * @throws ShapeError for other dtypes, or shapes that do not fit
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
  const inputs: Inputs = [x, weight1, bias1, weight2, bias2, residual]
  const [width, outputs] = [weight1.shape[0], weight2.shape[0]]
  const shapes = [[width, x.shape.at(-1)], [width], [outputs, width], [outputs]]
  const fits = inputs.slice(1, 5).every((t, i) => `${t!.shape}` === `${shapes[i]}`) && x.ndim > 0 && weight2.ndim === 2
  const compute = fits ? computeDtype([x, weight1, weight2]) : undefined
  if (!compute || inputs.some((t) => t && !isFloat(t.dtype))) {
    throw mismatch('mlp', inputs, '[..., in], [hidden, in], [hidden], [out, hidden], [out] in float32 or float16')
  }
  const added = residualType('mlp', residual, [...x.shape.slice(0, -1), outputs!])
  const isOwnResidual = residual === x && compute === x.dtype
  return op(inputs, { compute, dtype: residual?.dtype ?? compute, residual: added, isOwnResidual })
}
