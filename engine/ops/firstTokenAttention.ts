import type { AttentionShape } from '../../kernels/attention/index.ts'
import { castCached, computeDtype } from '../autograd/autocast.ts'
import { defineOp } from '../autograd/tape.ts'
import { checkNoMore, checkNumber } from '../base/checks.ts'
import { bindingAlignment, type Dtype } from '../layout/dtype.ts'
import { checkTensor } from '../tensor/arguments.ts'
import { copyInto } from '../tensor/copies.ts'
import { empty, type Tensor, view } from '../tensor/tensor.ts'
import { attend, attendBackward, blockRows, isCount, mismatch, type Rows, shapeOf } from './attentionRows.ts'
import { asRows, gemm, shaped, transposed } from './gemm.ts'

/** Rows `from` to `to` of a matrix; a view. */
function rowsOf(matrix: Tensor, from: number, to: number): Tensor {
  const [row, column] = matrix.strides as [number, number]
  return view(matrix, [to - from, matrix.shape[1]!], [row, column], matrix.offset + from * row)
}

/** The first token of each sequence of [B, N, D], as [B, D]; a view. */
function firstTokens(u: Tensor): Tensor {
  const [batch, , column] = u.strides as [number, number, number]
  return view(u, [u.shape[0]!, u.shape[2]!], [batch, column], u.offset)
}

/** Writes a product into a view, by way of a copy where a kernel cannot bind it. */
function productInto(out: Tensor, a: Tensor, b: Tensor): void {
  const direct = out.isContiguous() && out.offset % bindingAlignment(out.dtype) === 0
  const made = direct ? out : empty(out.shape, out.dtype, out.device)
  gemm(made, a, b)
  if (!direct) copyInto(made, out)
}

const op = defineOp<[u: Tensor, weight: Tensor], AttentionShape & { compute: Dtype }>({
  name: 'firstTokenAttention',
  forward(ctx, inputs, { compute, ...shape }) {
    const [u, weight] = inputs.map((t) => castCached(t, compute)) as [Tensor, Tensor]
    const { batch, keys } = shape
    const inner = shape.heads * shape.width
    const q = empty([batch, inner], compute, u.device)
    gemm(q, firstTokens(u), transposed(rowsOf(weight, 0, inner)))
    const kv = empty([batch * keys, 2 * inner], compute, u.device)
    gemm(kv, asRows(u), transposed(rowsOf(weight, inner, 3 * inner)))
    const out = empty([batch, 1, inner], compute, u.device)
    const { query, k, v } = operands(q, kv, shape)
    const lse = attend(shape, query, k, v, blockRows(out, 0, shape))
    ctx.saveForBackward(ctx.needs[1] ? u : undefined, ctx.needs[0] ? weight : undefined, q, kv, out, lse)
    return out
  },
  backward(ctx, grad, { compute, ...shape }) {
    const [u, weight, q, kv, out, lse] = ctx.saved as [Tensor | undefined, Tensor | undefined, Tensor, Tensor, Tensor, Tensor]
    const inner = shape.heads * shape.width
    const [dq, dkv] = [empty(q.shape, compute, q.device), empty(kv.shape, compute, q.device)]
    const { query, k, v } = operands(q, kv, shape)
    const { query: dQuery, k: dk, v: dv } = operands(dq, dkv, shape)
    const dOut = blockRows(grad.contiguous(), 0, shape)
    attendBackward(shape, { q: query, k, v, out: blockRows(out, 0, shape), lse, dOut }, dQuery, { dk, dv })
    let [du, dweight]: (Tensor | undefined)[] = []
    if (weight) {
      du = ctx.gradOut(0) // [B, N, D]
      gemm(shaped(du, [kv.shape[0]!, du.shape[2]!]), dkv, rowsOf(weight, inner, 3 * inner))
      // The first tokens are queries too.
      const first = empty([shape.batch, du.shape[2]!], du.dtype, q.device)
      gemm(first, dq, rowsOf(weight, 0, inner), { residual: firstTokens(du) })
      copyInto(first, firstTokens(du))
    }
    if (u) {
      dweight = ctx.gradOut(1) // [3 * H * Dh, D]
      productInto(rowsOf(dweight, 0, inner), transposed(dq), firstTokens(u))
      productInto(rowsOf(dweight, inner, 3 * inner), transposed(dkv), asRows(u))
    }
    return [du, dweight]
  },
})

/** How the kernels find queries [B, H * Dh] and keys and values [B * N, 2 * H * Dh]. */
function operands(q: Tensor, kv: Tensor, shape: AttentionShape): { query: Rows; k: Rows; v: Rows } {
  const packed = shaped(kv, [shape.batch, shape.keys, kv.shape[1]!])
  return {
    query: blockRows(shaped(q, [shape.batch, 1, q.shape[1]!]), 0, shape),
    k: blockRows(packed, 0, shape),
    v: blockRows(packed, 1, shape),
  }
}

/**
 * The first row of self-attention with its projections: the query of the first token (CLS) against the keys and values of
 * all. Equals row 0 of `packedAttention(linear(u, weight), heads)` for a fraction of the work.
 * @param u [B, N, D], float32 or float16; inside `autocast` both are taken in its dtype
 * @param weight [3 * H * Dh, D], of u's dtype: rows of q, k and v one behind the other, heads one behind the other in each
 * @param heads H
 * @returns [B, 1, H * Dh]
 * @throws ShapeError for other dtypes or shapes
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
  return op([u, weight], { ...shapeOf(batch, heads, 1, tokens, rows / (3 * heads), compute), compute })
}
