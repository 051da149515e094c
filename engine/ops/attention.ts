import type { AttentionShape } from '../../kernels/attention/index.ts'
import { toLowerPrecision } from '../autograd/autocast.ts'
import { defineOp } from '../autograd/tape.ts'
import { checkNoMore, checkNumber } from '../base/checks.ts'
import { bindingAlignment, isFloat } from '../layout/dtype.ts'
import { checkTensor } from '../tensor/arguments.ts'
import { empty, type Tensor, view } from '../tensor/tensor.ts'
import {
  alikeFloats,
  attend,
  attendBackward,
  blockRows,
  headRows,
  isCount,
  mismatch,
  type Rows,
  shapeOf,
  withRows,
} from './attentionRows.ts'

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
    const rows = { q: headRows(q), k: headRows(k), v: headRows(v), out: headRows(out), dOut: headRows(withRows(grad)) }
    const dq = ctx.gradOut(0)
    // The kernel writes both into one buffer.
    const alignment = bindingAlignment(k.dtype)
    const start = Math.ceil(k.size / alignment) * alignment
    const both = empty([start + k.size], k.dtype, k.device)
    const strides = [k.size / shape.batch, shape.keys * shape.width, shape.width, 1]
    const dk = view(both, k.shape, strides, 0)
    const dv = view(both, k.shape, strides, start)
    // Both bound from the first element to the last: dv's own place is in its view.
    const bound = { ...headRows(dk).bound, end: dv.end }
    const [dkRows, dvRows] = [0, start].map((at): Rows => ({ bound, view: [at, strides[0]!, strides[1]!, strides[2]!] }))
    const wanted = ctx.needs[1] || ctx.needs[2]
    attendBackward(shape, { ...rows, lse }, headRows(dq), wanted ? { dk: dkRows!, dv: dvRows! } : undefined)
    return [dq, ...(wanted ? [dk, dv] : [])]
  },
})

/**
 * Attention of each query over all keys, softmax(q k^T * Dh^-0.5) v, in one kernel that never holds the [Tq, Tk] scores. A row of scores with
 * NaN or Infinity, or of -Infinity alone, gives NaN; -Infinity beside others has weight 0. Scores beyond 2.358e38 count as infinite, and
 * an infinite value may give NaN where it should give infinity. Gradients take probabilities from e^(score - logsumexp), which has the
 * digits that float32 has at the size of the scores.
 * Views are read where they lie if their last dim is contiguous.
 * @param givenQ queries [B, H, Tq, Dh], float32 or float16; inside `autocast` all are taken in its dtype
 * @param givenK keys [B, H, Tk, Dh], of the queries' dtype
 * @param givenV values [B, H, Tk, Dh], of the queries' dtype
 * @returns [B, H, Tq, Dh]
 * @throws ShapeError for other dtypes or shapes
 */
export function scaledDotProductAttention(givenQ: Tensor, givenK: Tensor, givenV: Tensor, ...extra: []): Tensor {
  checkTensor('scaledDotProductAttention', givenQ, 'q')
  checkTensor('scaledDotProductAttention', givenK, 'k')
  checkTensor('scaledDotProductAttention', givenV, 'v')
  checkNoMore('scaledDotProductAttention', extra)
  const [q, k, v] = [toLowerPrecision(givenQ), toLowerPrecision(givenK), toLowerPrecision(givenV)]
  const inputs = [q, k, v] as [Tensor, Tensor, Tensor]
  const [batch, heads, queries, width] = q.shape as [number, number, number, number]
  const keys = k.shape[2]
  const of = [batch, heads, keys, width]
  if (!alikeFloats(inputs) || inputs.some((t) => t.ndim !== 4) || `${k.shape}` !== `${of}` || `${v.shape}` !== `${of}`) {
    const takes = '[B, H, Tq, Dh], [B, H, Tk, Dh] and [B, H, Tk, Dh] of one dtype, float32 or float16'
    throw mismatch('scaledDotProductAttention', inputs, takes)
  }
  return headsOp(inputs, shapeOf(batch, heads, queries, keys!, width, q.dtype))
}

const packedOp = defineOp<[qkv: Tensor], AttentionShape>({
  name: 'packedAttention',
  forward(ctx, [given], shape) {
    const qkv = withRows(given)
    const out = empty([shape.batch, shape.queries, shape.heads * shape.width], qkv.dtype, qkv.device)
    const [q, k, v] = [0, 1, 2].map((block) => blockRows(qkv, block, shape)) as [Rows, Rows, Rows]
    const lse = attend(shape, q, k, v, blockRows(out, 0, shape))
    ctx.saveForBackward(qkv, out, lse)
    return out
  },
  backward(ctx, grad, shape) {
    const [qkv, out, lse] = ctx.saved as [Tensor, Tensor, Tensor]
    const [q, k, v] = [0, 1, 2].map((block) => blockRows(qkv, block, shape)) as [Rows, Rows, Rows]
    const dOut = blockRows(withRows(grad), 0, shape)
    const dqkv = ctx.gradOut(0)
    const [dq, dk, dv] = [0, 1, 2].map((block) => blockRows(dqkv, block, shape)) as [Rows, Rows, Rows]
    attendBackward(shape, { q, k, v, out: blockRows(out, 0, shape), lse, dOut }, dq, { dk, dv })
    return [dqkv]
  },
})

/**
 * Self-attention on what one Linear for queries, keys and values gives, without taking it apart.
 * @param given float32 or float16 [B, T, 3 * H * Dh]: q, k and v one behind the other, heads side by side in each
 * @param heads H
 * @returns [B, T, H * Dh]
 * @throws ShapeError for another dtype or a last dim that is no multiple of 3 * heads
 */
export function packedAttention(given: Tensor, heads: number, ...extra: []): Tensor {
  checkTensor('packedAttention', given)
  checkNumber('packedAttention', heads, 'heads')
  checkNoMore('packedAttention', extra)
  const qkv = toLowerPrecision(given)
  const [batch, tokens, last] = qkv.shape as [number, number, number]
  if (!isFloat(qkv.dtype) || qkv.ndim !== 3 || !isCount(heads) || last % (3 * heads) !== 0) {
    throw mismatch('packedAttention', [qkv], `float32 or float16 [B, T, 3 * ${heads} * Dh] for ${heads} heads`)
  }
  return packedOp([qkv], shapeOf(batch, heads, tokens, tokens, last / (3 * heads), qkv.dtype))
}

const crossOp = defineOp<[q: Tensor, kv: Tensor], AttentionShape>({
  name: 'packedCrossAttention',
  forward(ctx, inputs, shape) {
    const [q, kv] = inputs.map(withRows) as [Tensor, Tensor]
    const out = empty(q.shape, q.dtype, q.device) // [B, Tq, H * Dh]
    const [k, v] = [0, 1].map((block) => blockRows(kv, block, shape)) as [Rows, Rows]
    const lse = attend(shape, blockRows(q, 0, shape), k, v, blockRows(out, 0, shape))
    ctx.saveForBackward(q, kv, out, lse)
    return out
  },
  backward(ctx, grad, shape) {
    const [q, kv, out, lse] = ctx.saved as [Tensor, Tensor, Tensor, Tensor]
    const [k, v] = [0, 1].map((block) => blockRows(kv, block, shape)) as [Rows, Rows]
    const saved = { q: blockRows(q, 0, shape), k, v, out: blockRows(out, 0, shape), lse }
    const dOut = blockRows(withRows(grad), 0, shape)
    const dq = ctx.gradOut(0)
    const dkv = ctx.needs[1] ? ctx.gradOut(1) : undefined
    const [dk, dv] = dkv ? ([0, 1].map((block) => blockRows(dkv, block, shape)) as [Rows, Rows]) : []
    attendBackward(shape, { ...saved, dOut }, blockRows(dq, 0, shape), dk && dv && { dk, dv })
    return [dq, dkv]
  },
})

/**
 * Attention of some tokens (such as only the class token) over all, on what Linears give.
 * @param givenQ queries [B, Tq, H * Dh], float32 or float16, heads side by side
 * @param givenKv keys, then values [B, Tk, 2 * H * Dh], of the queries' dtype
 * @param heads H
 * @returns [B, Tq, H * Dh]
 * @throws ShapeError for other dtypes or shapes
 */
export function packedCrossAttention(givenQ: Tensor, givenKv: Tensor, heads: number, ...extra: []): Tensor {
  checkTensor('packedCrossAttention', givenQ, 'q')
  checkTensor('packedCrossAttention', givenKv, 'kv')
  checkNumber('packedCrossAttention', heads, 'heads')
  checkNoMore('packedCrossAttention', extra)
  const [q, kv] = [toLowerPrecision(givenQ), toLowerPrecision(givenKv)]
  const [batch, queries, last] = q.shape as [number, number, number]
  const fits = q.ndim === 3 && kv.ndim === 3 && kv.shape[0] === batch && kv.shape[2] === 2 * last
  if (!alikeFloats([q, kv]) || !fits || !isCount(heads) || last % heads !== 0) {
    const takes = `[B, Tq, ${heads} * Dh] and [B, Tk, 2 * ${heads} * Dh] of one dtype, float32 or float16`
    throw mismatch('packedCrossAttention', [q, kv], takes)
  }
  return crossOp([q, kv], shapeOf(batch, heads, queries, kv.shape[1]!, last / heads, q.dtype))
}
