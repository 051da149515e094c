import * as kernels from '../../kernels/layerNorm/index.ts'
import { toFloat32 } from '../autograd/autocast.ts'
import { defineOp, type OpContext } from '../autograd/tape.ts'
import { checkNoMore } from '../base/checks.ts'
import { byLayouts, byNumber, share } from '../layout/layoutMemo.ts'
import { checkTensor, mismatch } from '../tensor/arguments.ts'
import { fromStorageStart, run } from '../tensor/run.ts'
import { empty, type Tensor } from '../tensor/tensor.ts'
import { add, div, mul, sqrt, sub } from './elementwise.ts'
import { gradientPair } from './gradientPair.ts'
import { checkEps, rowsOf, rowsOfLayout, withRows } from './normRows.ts'
import { mean } from './reduce.ts'
import { sumTo } from './shape.ts'

const problems = byLayouts((x) => byNumber((eps) => share({ ...rowsOfLayout(x), eps })))

const op = defineOp<[x: Tensor, weight: Tensor, bias: Tensor], { eps: number }>({
  name: 'layerNorm',
  forward(ctx, inputs, { eps }) {
    const x = withRows(inputs[0])
    const [weight, bias] = [inputs[1].contiguous(), inputs[2].contiguous()]
    const { device } = x
    const problem = problems(x.layout, x.layout)(eps)
    const y = empty(x.shape, 'float32', device)
    const center = empty([problem.rows], 'float32', device)
    const rstd = empty([problem.rows], 'float32', device)
    run(kernels.layerNorm, problem, [fromStorageStart(x), weight, bias, y, center, rstd])
    ctx.saveForBackward(x, ctx.needs[0] ? weight : undefined, center, rstd)
    return y
  },
  backward(ctx, grad) {
    const [x, weight, center, rstd] = ctx.saved as [Tensor, Tensor | undefined, Tensor, Tensor]
    const { device } = x
    const rows = rowsOf(x)
    const sums = ctx.needs[1] || ctx.needs[2] ? parameterSums(ctx, rows) : undefined
    const target = ctx.needs[0] ? ctx.gradOut(0) : undefined
    // A kernel cannot bind one buffer twice for writing, and x may have its slot in the arena of weight and bias.
    const dx = target && target.storage !== sums?.out.storage ? target : empty(target ? x.shape : [1], 'float32', device)
    const problem = { ...rows, input: !!target, chunks: sums?.chunks ?? 0, weightOffset: 0, toBias: 0, ...sums?.place }
    const out = sums?.out ?? empty([1], 'float32', device)
    // The kernel reads the weight only for the gradient of x; without that, x stands in for it.
    run(kernels.layerNormBackward, problem, [
      fromStorageStart(x),
      weight ?? fromStorageStart(x),
      center,
      rstd,
      grad.contiguous(),
      dx,
      out,
    ])
    sums?.combine()
    return [target && dx, sums?.dweight, sums?.dbias]
  },
  differentiableBackward(ctx, grad, { eps }) {
    const x = ctx.input(0)
    const centered = sub(x, mean(x, -1, true))
    const rstd = div(1, sqrt(add(mean(mul(centered, centered), -1, true), eps))) // [..., 1]
    const normal = mul(centered, rstd) // [..., D]
    const n = [x.shape.at(-1)!]
    let dx: Tensor | undefined
    if (ctx.needs[0]) {
      const scaled = mul(grad, ctx.input(1))
      dx = mul(rstd, sub(sub(scaled, mean(scaled, -1, true)), mul(normal, mean(mul(scaled, normal), -1, true))))
    }
    return [dx, ctx.needs[1] ? sumTo(mul(grad, normal), n) : undefined, ctx.needs[2] ? sumTo(grad, n) : undefined]
  },
})

/**
 * Finds the place of the gradients of weight and bias, which lie in one buffer. With several chunks, a second launch combines partial sums
 * into it.
 */
function parameterSums(ctx: OpContext, { rows, n }: { rows: number; n: number }) {
  const { first: dweight, second: dbias, firstOffset, toSecond, out } = gradientPair(ctx, 1, 2)
  const { device } = out
  const place = { weightOffset: firstOffset, toBias: toSecond }
  const chunks = kernels.layerNormChunks(device.capabilities, rows)
  if (chunks === 1) return { dweight, dbias, chunks, out, place, combine() {} }
  const sums = empty([2, chunks, n], 'float32', device)
  const combine = () => run(kernels.layerNormCombine, { n, chunks, ...place }, [sums, out])
  return { dweight, dbias, chunks, out: sums, place: { weightOffset: 0, toBias: chunks * n }, combine }
}

/**
 * Layer normalization (Ba et al., arXiv 1607.06450), (x - mean) / sqrt(variance + eps) * weight + bias over the last dim. The variance is
 * computed from centered values, so a large mean costs no accuracy. Rows of a larger tensor (such as one token of each sequence) are read
 * where they lie. A row with NaN or an infinity becomes NaN, and so does a row whose variance exceeds float32 (elements some 1e19 apart).
 * @param x float32 [..., D]; inside `autocast` float16 too
 * @param weight float32 [D]
 * @param bias float32 [D]
 * @param eps finite, at least 0; with 0 a row of equal elements gives NaN
 * @returns float32 [..., D]
 * @throws ShapeError for other dtypes or shapes; ArgumentError for another eps
 */
export function layerNorm(x: Tensor, weight: Tensor, bias: Tensor, eps = 1e-5, ...extra: []): Tensor {
  checkTensor('layerNorm', x)
  checkTensor('layerNorm', weight, 'weight')
  checkTensor('layerNorm', bias, 'bias')
  checkEps('layerNorm', eps)
  checkNoMore('layerNorm', extra)
  const input = toFloat32(x)
  const n = input.shape.at(-1)
  const fits = (t: Tensor) => t.dtype === 'float32' && t.ndim === 1 && t.shape[0] === n
  if (input.dtype !== 'float32' || n === undefined || !fits(weight) || !fits(bias)) {
    throw mismatch('layerNorm', [input, weight, bias], 'float32 [..., D], [D] and [D]')
  }
  return op([input, weight, bias], { eps })
}
