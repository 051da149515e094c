import {
  layerNormBackward,
  layerNormChunks,
  layerNormCombine,
  layerNorm as layerNormKernel,
} from '../../kernels/layerNorm/index.ts'
import { toFloat32 } from '../autograd/autocast.ts'
import { defineOp, type OpContext } from '../autograd/tape.ts'
import { checkNoMore, refusal } from '../base/checks.ts'
import { ShapeError } from '../base/errors.ts'
import { bindingAlignment } from '../layout/dtype.ts'
import { format } from '../layout/shape.ts'
import { joint } from '../memory/version.ts'
import { checkTensor } from '../tensor/arguments.ts'
import { fromStorageStart, run } from '../tensor/run.ts'
import { empty, type Tensor, view } from '../tensor/tensor.ts'

const op = defineOp<[x: Tensor, weight: Tensor, bias: Tensor], { eps: number }>({
  name: 'layerNorm',
  forward(ctx, [given, givenWeight, bias], { eps }) {
    const x = rowStride(given) === undefined ? given.contiguous() : given
    const weight = givenWeight.contiguous()
    const { device } = x
    const rows = rowsOf(x)
    const y = empty(x.shape, 'float32', device)
    const center = empty([rows.rows], 'float32', device)
    const rstd = empty([rows.rows], 'float32', device)
    run(layerNormKernel, { ...rows, eps }, [fromStorageStart(x), weight, bias.contiguous(), y, center, rstd])
    ctx.saveForBackward(x, ctx.needs[0] ? weight : undefined, center, rstd)
    return y
  },
  backward(ctx, grad) {
    const [x, weight, center, rstd] = ctx.saved as [Tensor, Tensor | undefined, Tensor, Tensor]
    const { device } = x
    const rows = rowsOf(x)
    const sums = ctx.needs[1] || ctx.needs[2] ? parameterSums(ctx, rows) : undefined
    // A kernel cannot bind one buffer twice for writing.
    const own = ctx.needs[0] ? ctx.gradOut(0) : undefined
    const dx = own && own.storage !== sums?.out.storage ? own : empty(own ? x.shape : [1], 'float32', device)
    const problem = { ...rows, input: !!own, chunks: sums?.chunks ?? 0, weightOffset: 0, toBias: 0, ...sums?.place }
    const out = sums?.out ?? empty([1], 'float32', device)
    // Only the gradient of x reads the weight.
    run(layerNormBackward, problem, [
      fromStorageStart(x),
      weight ?? fromStorageStart(x),
      center,
      rstd,
      grad.contiguous(),
      dx,
      out,
    ])
    sums?.combine()
    return [own && dx, sums?.dweight, sums?.dbias]
  },
})

/** Where the gradients of weight and bias go: into one buffer, or with several chunks first into sums of them. */
function parameterSums(ctx: OpContext, { rows, n }: { rows: number; n: number }) {
  let dweight = ctx.gradOut(1)
  let dbias = ctx.gradOut(2)
  const { device } = dweight
  // The kernels write both into one buffer, which an arena of gradients is.
  if (dweight.storage !== dbias.storage) {
    const both = empty([2, n], 'float32', device)
    dweight = view(both, [n], [1], 0)
    dbias = view(both, [n], [1], n)
  }
  // Only the part that is written, so that other branches' gradients in the same arena are seen to be none of it.
  const first = Math.min(dweight.offset, dbias.offset)
  const offset = first - (first % bindingAlignment(dweight.dtype))
  const out = {
    device,
    storage: dweight.storage,
    version: joint([dweight.version, dbias.version]),
    dtype: dweight.dtype,
    offset,
    end: Math.max(dweight.end, dbias.end),
  }
  const place = { weightOffset: dweight.offset - offset, toBias: (dbias.offset - dweight.offset) >>> 0 }
  const chunks = layerNormChunks(device.capabilities, rows)
  if (chunks === 1) return { dweight, dbias, chunks, out, place, combine() {} }
  const sums = empty([2, chunks, n], 'float32', device)
  const combine = () => run(layerNormCombine, { n, chunks, ...place }, [sums, out])
  return { dweight, dbias, chunks, out: sums, place: { weightOffset: 0, toBias: chunks * n }, combine }
}

/** Elements from a row (along the last dim) to the next, where all rows lie evenly spaced; else undefined. */
function rowStride({ shape, strides }: Tensor): number | undefined {
  const last = shape.length - 1
  if (shape[last]! > 1 && strides[last] !== 1) return undefined
  let stride: number | undefined
  let rows = 1
  for (let i = last - 1; i >= 0; i--) {
    if (shape[i] === 1) continue
    stride ??= strides[i]!
    if (strides[i] !== stride * rows) return undefined
    rows *= shape[i]!
  }
  return stride ?? shape[last]!
}

function rowsOf(x: Tensor) {
  const n = x.shape.at(-1)!
  return { rows: x.size / n, n, xOffset: x.offset, xStride: rowStride(x)! }
}

/**
 * (x - mean) / sqrt(variance + eps) * weight + bias over the last dim, exact also for rows with a large mean. Rows of a
 * larger tensor (such as one token of each sequence) are read where they lie. A row with NaN or an infinity is NaN, and so is one whose
 * variance float32 cannot hold (elements some 1e19 apart); a constant row gives the bias.
 * @param given float32 [..., D]; inside `autocast` float16 too
 * @param weight float32 [D]
 * @param bias float32 [D]
 * @param eps finite, at least 0; with 0 a row of one value gives NaN
 * @returns [..., D]
 * @throws ShapeError for other dtypes or shapes; ArgumentError for another eps
 */
export function layerNorm(given: Tensor, weight: Tensor, bias: Tensor, eps = 1e-5, ...extra: []): Tensor {
  checkTensor('layerNorm', given)
  checkTensor('layerNorm', weight, 'weight')
  checkTensor('layerNorm', bias, 'bias')
  if (!(Number.isFinite(eps) && eps >= 0)) throw refusal('layerNorm', eps, 'a finite number of at least 0', 'eps')
  checkNoMore('layerNorm', extra)
  const x = toFloat32(given)
  const n = x.shape.at(-1)
  const fits = (t: Tensor) => t.dtype === 'float32' && t.ndim === 1 && t.shape[0] === n
  if (x.dtype !== 'float32' || n === undefined || !fits(weight) || !fits(bias)) {
    const got = [x, weight, bias].map((t) => `${t.dtype} ${format(t.shape)}`).join(', ')
    throw new ShapeError(`layerNorm: got ${got}; takes float32 [..., D], [D] and [D]`)
  }
  return op([x, weight, bias], { eps })
}
