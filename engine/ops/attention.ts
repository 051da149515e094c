import type { AttentionShape } from '../../kernels/attention/index.ts'
import { toLowerPrecision } from '../autograd/autocast.ts'
import { defineOp } from '../autograd/tape.ts'
import { checkNoMore, checkNumber } from '../base/checks.ts'
import { bindingAlignment, isFloat } from '../layout/dtype.ts'
import { checkTensor, mismatch } from '../tensor/arguments.ts'
import { empty, type Tensor, view } from '../tensor/tensor.ts'
import type { Rows } from './attentionRows.ts'
import { attend, attendBackward, attentionShape, blocksOf, headRows, isCount, shareFloat, withRows } from './attentionRows.ts'

const headsOp = defineOp<[q: Tensor, k: Tensor, v: Tensor], AttentionShape>({
  name: 'scaledDotProductAttention',
  forward(ctx, inputs, shape) {
    const [q, k, v] = inputs.map(withRows) as [Tensor, Tensor, Tensor]
    const out = empty(q.shape, q.dtype, q.device) // [B, H, Tq, Dh]
    const lse = attend(shape, headRows(q), headRows(k), headRows(v), headRows(out))
    ctx.saveForBackward(q, k, v, out, lse)
    return out
  },
  backward(ctx, grad, shape) {
    const [q, k, v, out, lse] = ctx.saved as [Tensor, Tensor, Tensor, Tensor, Tensor]
    const saved = { q: headRows(q), k: headRows(k), v: headRows(v), out: headRows(out), lse }
    const dq = ctx.gradOut(0)
    // The kernel writes dk and dv through one binding, so both lie in one buffer.
    const alignment = bindingAlignment(k.dtype)
    const start = Math.ceil(k.size / alignment) * alignment
    const both = empty([start + k.size], k.dtype, k.device)
    const strides = [k.size / shape.batch, shape.keys * shape.width, shape.width, 1]
    const dk = view(both, { shape: k.shape, strides })
    const dv = view(both, { shape: k.shape, strides, offset: start })
    const bound = { ...headRows(dk).bound, end: dv.end }
    const [dkRows, dvRows] = [0, start].map((at): Rows => ({ bound, view: [at, strides[0]!, strides[1]!, strides[2]!] }))
    const needsKv = ctx.needs[1] || ctx.needs[2]
    const dkv = needsKv ? { dk: dkRows!, dv: dvRows! } : undefined
    attendBackward(shape, { ...saved, dOut: headRows(withRows(grad)) }, headRows(dq), dkv)
    return [dq, ...(needsKv ? [dk, dv] : [])]
  },
})

/**
 * Attention softmax(q k^T / sqrt(Dh)) v in one kernel, which never stores the scores [Tq, Tk] (FlashAttention, arXiv 2205.14135). A row of
 * scores with NaN or Infinity, or of -Infinity alone, gives NaN; -Infinity beside finite scores has weight 0. Scores beyond 2.358e38 count
 * as infinite, and an infinite value may give NaN where it should give infinity. Backward computes probabilities as exp(score - logsumexp),
 * whose relative error grows with the size of the scores. Views are read where they lie if their last dim is contiguous.
 * @param q queries [B, H, Tq, Dh], float32 or float16; inside `autocast` all inputs are cast to its dtype
 * @param k keys [B, H, Tk, Dh], of the dtype of q
 * @param v values [B, H, Tk, Dh], of the dtype of q
 * @returns [B, H, Tq, Dh]
 * @throws ShapeError for other dtypes or shapes
 */
export function scaledDotProductAttention(q: Tensor, k: Tensor, v: Tensor, ...extra: []): Tensor {
  checkTensor('scaledDotProductAttention', q, 'q')
  checkTensor('scaledDotProductAttention', k, 'k')
  checkTensor('scaledDotProductAttention', v, 'v')
  checkNoMore('scaledDotProductAttention', extra)
  const inputs = [toLowerPrecision(q), toLowerPrecision(k), toLowerPrecision(v)] as [Tensor, Tensor, Tensor]
  const [batch, heads, queries, width] = q.shape as [number, number, number, number]
  const keys = k.shape[2]
  const kv = `${[batch, heads, keys, width]}`
  if (!shareFloat(inputs) || inputs.some((t) => t.ndim !== 4) || `${k.shape}` !== kv || `${v.shape}` !== kv) {
    const takes = '[B, H, Tq, Dh], [B, H, Tk, Dh] and [B, H, Tk, Dh] of one dtype, float32 or float16'
    throw mismatch('scaledDotProductAttention', inputs, takes)
  }
  return headsOp(inputs, attentionShape(batch, heads, queries, keys!, width, inputs[0].dtype))
}

const packedOp = defineOp<[qkv: Tensor], AttentionShape>({
  name: 'packedAttention',
  forward(ctx, [input], shape) {
    const qkv = withRows(input)
    const out = empty([shape.batch, shape.queries, shape.heads * shape.width], qkv.dtype, qkv.device) // [B, T, H * Dh]
    const [q, k, v] = blocksOf(qkv, shape) as [Rows, Rows, Rows]
    const lse = attend(shape, q, k, v, blocksOf(out, shape)[0]!)
    ctx.saveForBackward(qkv, out, lse)
    return out
  },
  backward(ctx, grad, shape) {
    const [qkv, out, lse] = ctx.saved as [Tensor, Tensor, Tensor]
    const [q, k, v] = blocksOf(qkv, shape) as [Rows, Rows, Rows]
    const dqkv = ctx.gradOut(0)
    const [dq, dk, dv] = blocksOf(dqkv, shape) as [Rows, Rows, Rows]
    const dOut = blocksOf(withRows(grad), shape)[0]!
    attendBackward(shape, { q, k, v, out: blocksOf(out, shape)[0]!, lse, dOut }, dq, { dk, dv })
    return [dqkv]
  },
})

/**
 * Self-attention on the output of one Linear for queries, keys and values, which is read where it lies.
 * @param qkv [B, T, 3 * H * Dh], float32 or float16: a block each of q, k and v, with heads side by side; inside `autocast` it is cast to its
 *   dtype
 * @param heads H
 * @returns [B, T, H * Dh]
 * @throws ShapeError for another dtype, or a last dim that is no multiple of 3 * heads; ArgumentError when `heads` is no number
 */
export function packedAttention(qkv: Tensor, heads: number, ...extra: []): Tensor {
  checkTensor('packedAttention', qkv)
  checkNumber('packedAttention', heads, 'heads')
  checkNoMore('packedAttention', extra)
  const input = toLowerPrecision(qkv)
  const [batch, tokens, last] = input.shape as [number, number, number]
  if (!isFloat(input.dtype) || input.ndim !== 3 || !isCount(heads) || last % (3 * heads) !== 0) {
    throw mismatch('packedAttention', [input], `float32 or float16 [B, T, 3 * ${heads} * Dh] for ${heads} heads`)
  }
  return packedOp([input], attentionShape(batch, heads, tokens, tokens, last / (3 * heads), input.dtype))
}
