import { unaryBackward } from '../../kernels/elementwise/index.ts'
import { defineOp } from '../autograd.ts'
import { ShapeError } from '../errors.ts'
import { run } from '../run.ts'
import { broadcastShapes, format, type Shape } from '../shape.ts'
import { empty, type Tensor } from '../tensor.ts'
import { asRows, product, shaped, transposed } from './product.ts'
import { sumInto } from './reduce.ts'
import { sumToInput } from './shape.ts'

export interface LinearOptions {
  /** gelu(x W^T + b), the exact (erf) form. */
  gelu?: boolean
  /** Added after that; broadcasts to the result. */
  residual?: Tensor
}

type Inputs = [x: Tensor, weight: Tensor, bias: Tensor | undefined, residual: Tensor | undefined]

const op = defineOp<Inputs, { gelu: boolean; residualShape: Shape }>({
  name: 'linear',
  forward(ctx, [x, weight, bias, residual], { gelu }) {
    const { device } = x
    const shape = [...x.shape.slice(0, -1), weight.shape[0]!]
    // A vector is one row.
    const matrix = x.ndim > 1 ? shape : [1, ...shape]
    const out = empty(shape, 'float32', device)
    const pre = gelu && ctx.needs.includes(true) ? empty(shape, 'float32', device) : undefined
    const epilogue = { bias: bias?.contiguous(), pre, gelu, residual }
    product(shaped(out, matrix), x.ndim > 1 ? x : asRows(x), transposed(weight), epilogue)
    ctx.saveForBackward(x, weight, ...(pre ? [pre] : []))
    return out
  },
  backward(ctx, grad, { residualShape }) {
    const [x, weight, pre] = ctx.saved as [Tensor, Tensor, Tensor?]
    const dy = asRows(pre ? geluBackward(grad, pre) : grad) // [rows, out]
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
      sumInto(dbias, dy, 0, 1)
    }
    return [dx, dweight, dbias, ctx.needs[3] ? sumToInput(ctx, 3, grad, residualShape) : undefined]
  },
})

/** grad gelu'(pre) */
function geluBackward(given: Tensor, pre: Tensor): Tensor {
  const grad = given.contiguous()
  const out = empty(pre.shape, 'float32', pre.device)
  run(unaryBackward, { op: 'gelu', count: out.size }, [grad, pre, out])
  return out
}

/**
 * x W^T + b, and what may follow it, in one kernel. Rows of a larger tensor (such as one token of each sequence) are read
 * where they lie.
 * @param x float32 [..., in]
 * @param weight float32 [out, in], PyTorch's layout
 * @param bias float32 [out]
 * @param options.gelu whether to apply the exact (erf) GELU
 * @param options.residual float32, broadcasts to the result; added last
 * @returns [..., out]
 * @throws ShapeError for other dtypes, or shapes that do not match
 */
export function linear(x: Tensor, weight: Tensor, bias?: Tensor, { gelu = false, residual }: LinearOptions = {}): Tensor {
  const tensors = [x, weight, bias, residual]
  const outputs = weight.shape[0]
  const matches = weight.ndim === 2 && x.shape.at(-1) === weight.shape[1] && (!bias || format(bias.shape) === `[${outputs}]`)
  if (!matches || tensors.some((t) => t && t.dtype !== 'float32')) {
    const got = tensors.flatMap((t) => (t ? [`${t.dtype} ${format(t.shape)}`] : [])).join(', ')
    throw new ShapeError(`linear: got ${got}; takes float32 [..., in], [out, in] and [out]`)
  }
  const shape = [...x.shape.slice(0, -1), outputs!]
  if (residual && format(broadcastShapes('linear', residual.shape, shape)) !== format(shape)) {
    throw new ShapeError(`linear: a residual ${format(residual.shape)} does not broadcast to the result ${format(shape)}`)
  }
  return op([x, weight, bias, residual], { gelu, residualShape: residual?.shape ?? [] })
}
