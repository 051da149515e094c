import type { AttentionShape } from '../../kernels/attention/index.ts'
import { castCached, computeDtype } from '../autograd/autocast.ts'
import { defineOp } from '../autograd/tape.ts'
import { checkNoMore, checkNumber } from '../base/checks.ts'
import { bindingAlignment, type Dtype } from '../layout/dtype.ts'
import { checkTensor, mismatch } from '../tensor/arguments.ts'
import { copyInto } from '../tensor/copies.ts'
import { empty, type Tensor, view } from '../tensor/tensor.ts'
import { attend, attendBackward, attentionShape, blocksOf, isCount, type Rows } from './attentionRows.ts'
import { asRows, gemm, shaped, transposed } from './gemm.ts'

/** Makes a view of rows `from` to `to` (exclusive) of a matrix. */
function rowsOf(matrix: Tensor, from: number, to: number): Tensor {
  return view(matrix, { shape: [to - from, matrix.shape[1]!], offset: matrix.offset + from * matrix.strides[0]! })
}

/** Makes a view [B, D] of the first token of each sequence in [B, N, D]. */
function firstTokens(u: Tensor): Tensor {
  return view(u, { shape: u.shape.toSpliced(1, 1), strides: u.strides.toSpliced(1, 1) })
}

/** Writes a b into the view `out`, by way of a copy where the kernel cannot bind that. */
function gemmInto(out: Tensor, a: Tensor, b: Tensor): void {
  if (out.isContiguous() && out.offset % bindingAlignment(out.dtype) === 0) {
    gemm(out, a, b)
    return
  }
  const product = empty(out.shape, out.dtype, out.device)
  gemm(product, a, b)
  copyInto(product, out)
}

const op = defineOp<[u: Tensor, weight: Tensor], AttentionShape & { compute: Dtype }>({
  name: 'firstTokenAttention',
  forward(ctx, inputs, { compute, ...shape }) {
    const [u, weight] = inputs.map((t) => castCached(t, compute)) as [Tensor, Tensor]
    const { batch, keys } = shape
    const inner = shape.heads * shape.width
    const q = empty([batch, inner], compute, u.device) // [B, H * Dh]
    gemm(q, firstTokens(u), transposed(rowsOf(weight, 0, inner)))
    const kv = empty([batch * keys, 2 * inner], compute, u.device) // [B * N, 2 * H * Dh]
    gemm(kv, asRows(u), transposed(rowsOf(weight, inner, 3 * inner)))
    const out = empty([batch, 1, inner], compute, u.device)
    const { query, k, v } = operands(q, kv, shape)
    const statistics = attend(shape, query, k, v, blocksOf(out, shape)[0]!)
    ctx.saveForBackward(ctx.needs[1] ? u : undefined, ctx.needs[0] ? weight : undefined, q, kv, out, statistics)
    return out
  },
  backward(ctx, grad, { compute, ...shape }) {
    const [u, weight, q, kv, out, statistics] = ctx.saved as [
      Tensor | undefined,
      Tensor | undefined,
      Tensor,
      Tensor,
      Tensor,
      Tensor,
    ]
    const inner = shape.heads * shape.width
    const [dq, dkv] = [empty(q.shape, compute, q.device), empty(kv.shape, compute, q.device)]
    const { query, k, v } = operands(q, kv, shape)
    const { query: dQuery, k: dk, v: dv } = operands(dq, dkv, shape)
    const dOut = blocksOf(grad.contiguous(), shape)[0]!
    attendBackward(shape, { q: query, k, v, out: blocksOf(out, shape)[0]!, statistics, dOut }, dQuery, { dk, dv })
    let [du, dweight]: (Tensor | undefined)[] = []
    if (weight) {
      du = ctx.gradOut(0) // [B, N, D]
      gemm(shaped(du, [kv.shape[0]!, du.shape[2]!]), dkv, rowsOf(weight, inner, 3 * inner))
      // The first tokens also get a gradient as queries.
      const first = empty([shape.batch, du.shape[2]!], du.dtype, q.device) // [B, D]
      gemm(first, dq, rowsOf(weight, 0, inner), { residual: firstTokens(du) })
      copyInto(first, firstTokens(du))
    }
    if (u) {
      dweight = ctx.gradOut(1) // [3 * H * Dh, D]
      gemmInto(rowsOf(dweight, 0, inner), transposed(dq), firstTokens(u))
      gemmInto(rowsOf(dweight, inner, 3 * inner), transposed(dkv), asRows(u))
    }
    return [du, dweight]
  },
})

/** The rows of queries [B, H * Dh], and of keys and values [B * N, 2 * H * Dh]. */
function operands(q: Tensor, kv: Tensor, shape: AttentionShape): { query: Rows; k: Rows; v: Rows } {
  const [query] = blocksOf(shaped(q, [shape.batch, 1, q.shape[1]!]), shape) as [Rows]
  const [k, v] = blocksOf(shaped(kv, [shape.batch, shape.keys, kv.shape[1]!]), shape) as [Rows, Rows]
  return { query, k, v }
}

/**
 * The first row of self-attention with its projections: the query of the first token (CLS) against the keys and values of all tokens. It
 * equals row 0 of `packedAttention(linear(u, weight), heads)` and computes only one query.
 * @param u [B, N, D], float32 or float16; inside `autocast` both inputs are cast to its dtype
 * @param weight [3 * H * Dh, D], of the dtype of u: a block of rows each for q, k and v, with the rows of each head together
 * @param heads H
 * @returns [B, 1, H * Dh]
 * @throws ShapeError for other dtypes or shapes; ArgumentError when `heads` is no number
 */
export function firstTokenAttention(u: Tensor, weight: Tensor, heads: number, ...extra: []): Tensor {
  checkTensor('firstTokenAttention', u)
  checkTensor('firstTokenAttention', weight, 'weight')
  checkNumber('firstTokenAttention', heads, 'heads')
  checkNoMore('firstTokenAttention', extra)
  const [batch, tokens, dim] = u.shape as [number, number, number]
  const [rows] = weight.shape as [number]
  const fits = u.ndim === 3 && weight.ndim === 2 && weight.shape[1] === dim && isCount(heads) && rows % (3 * heads) === 0
  const compute = computeDtype([u, weight])
  if (!fits || !compute) {
    const takes = `[B, N, D] and [3 * ${heads} * Dh, D] for ${heads} heads, of one dtype, float32 or float16`
    throw mismatch('firstTokenAttention', [u, weight], takes)
  }
  return op([u, weight], { ...attentionShape(batch, heads, 1, tokens, rows / (3 * heads), compute), compute })
}
