import * as kernels from '../../kernels/rmsNorm/index.ts'
import { toFloat32 } from '../autograd/autocast.ts'
import { defineOp } from '../autograd/tape.ts'
import { checkNoMore } from '../base/checks.ts'
import { checkTensor, mismatch } from '../tensor/arguments.ts'
import { fromStorageStart, run } from '../tensor/run.ts'
import { empty, type Tensor } from '../tensor/tensor.ts'
import { add, div, mul, sqrt, sub } from './elementwise.ts'
import { checkEps, rowsOf, withRows } from './normRows.ts'
import { mean } from './reduce.ts'
import { sumTo, sumToInput } from './shape.ts'

const op = defineOp<[x: Tensor, weight: Tensor], { eps: number }>({
  name: 'rmsNorm',
  forward(ctx, inputs, { eps }) {
    const x = withRows(inputs[0])
    const weight = inputs[1].contiguous()
    const rows = rowsOf(x)
    const y = empty(x.shape, 'float32', x.device)
    const rstd = empty([rows.rows], 'float32', x.device)
    run(kernels.rmsNorm, { ...rows, eps }, [fromStorageStart(x), weight, y, rstd])
    ctx.saveForBackward(x, ctx.needs[0] ? weight : undefined, rstd)
    return y
  },
  backward(ctx, grad) {
    const [x, weight, rstd] = ctx.saved as [Tensor, Tensor | undefined, Tensor]
    const [input, terms] = ctx.needs
    const dx = input ? ctx.gradOut(0) : empty(x.shape, 'float32', x.device)
    const all = empty(terms ? x.shape : [1], 'float32', x.device)
    // The kernel reads the weight only for the gradient of x; without that, x stands in for it.
    const bound = [fromStorageStart(x), weight ?? fromStorageStart(x), rstd, grad.contiguous(), dx, all]
    run(kernels.rmsNormBackward, { ...rowsOf(x), terms: !!terms }, bound)
    return [input ? dx : undefined, terms ? sumToInput(ctx, 1, all, x.shape.slice(-1)) : undefined]
  },
  differentiableBackward(ctx, grad, { eps }) {
    const x = ctx.input(0)
    const rstd = div(1, sqrt(add(mean(mul(x, x), -1, true), eps))) // [..., 1]
    const normal = mul(x, rstd) // [..., D]
    let dx: Tensor | undefined
    if (ctx.needs[0]) {
      const scaled = mul(grad, ctx.input(1))
      dx = mul(rstd, sub(scaled, mul(normal, mean(mul(scaled, normal), -1, true))))
    }
    return [dx, ctx.needs[1] ? sumTo(mul(grad, normal), x.shape.slice(-1)) : undefined]
  },
})

/**
 * RMSNorm (Zhang and Sennrich, arXiv 1910.07467), x / sqrt(mean(x^2) + eps) * weight over the last dim. Rows of a larger tensor (such as
 * one token of each sequence) are read where they lie. A row with NaN or an infinity becomes NaN, and so does a row whose squares add up
 * beyond float32 (elements of some 1e19), which the formula in float32 turns into zeros.
 * @param x float32 [..., D]; inside `autocast` float16 too
 * @param weight float32 [D]
 * @param eps finite, at least 0; with 0 a row of zeros gives NaN
 * @returns float32 [..., D]
 * @throws ShapeError for other dtypes or shapes; ArgumentError for another eps
 */
export function rmsNorm(x: Tensor, weight: Tensor, eps = 1e-6, ...extra: []): Tensor {
  checkTensor('rmsNorm', x)
  checkTensor('rmsNorm', weight, 'weight')
  checkEps('rmsNorm', eps)
  checkNoMore('rmsNorm', extra)
  const input = toFloat32(x)
  const n = input.shape.at(-1)
  const fits = input.dtype === 'float32' && weight.dtype === 'float32' && weight.ndim === 1 && weight.shape[0] === n
  if (!fits) throw mismatch('rmsNorm', [input, weight], 'float32 [..., D] and [D]')
  return op([input, weight], { eps })
}
