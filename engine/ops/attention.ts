import { type AttentionShape, fusesGradients } from '../../kernels/attention/index.ts'
import { toLowerPrecision } from '../autograd/autocast.ts'
import { defineOp } from '../autograd/tape.ts'
import { checkNoMore, checkNumber } from '../base/checks.ts'
import { bindingAlignment, isFloat } from '../layout/dtype.ts'
import { checkTensor, mismatch } from '../tensor/arguments.ts'
import { operand } from '../tensor/strided.ts'
import { empty, type Tensor, view } from '../tensor/tensor.ts'
import { attentionGradients } from './attentionDerivative.ts'
import {
  type AttentionOptions,
  type CheckedOptions,
  checkAttentionOptions,
  checkMask,
  drawOptions,
  maskOf,
  maskProblem,
  optionsOf,
} from './attentionOptions.ts'
import * as rows from './attentionRows.ts'
import { attend, attendBackward, attentionShape, blocksOf, headRows, isCount, shareFloat, withRows } from './attentionRows.ts'
import { stack } from './concat.ts'
import { permute, reshape } from './shape.ts'
import { split } from './split.ts'
import { squeeze } from './squeeze.ts'

type Rows = rows.Rows

/** The sizes of a problem before its options, and the options. */
interface Arguments {
  shape: AttentionShape
  options: CheckedOptions
}

/** The problem of the kernels with its options. @param members the heads of queries that share the keys of one head */
function problemOf({ shape, options }: Arguments, mask: Tensor | undefined, members: number) {
  const { batch, heads, queries, keys } = shape
  const masked = mask && maskProblem(mask, [batch, heads * members, queries, keys])
  const grouped = members > 1 ? { queries: members * queries, period: queries } : {}
  const problem: AttentionShape = { ...shape, ...grouped, ...optionsOf(options), ...masked?.problem }
  return { problem, extras: { mask: masked?.bound, draw: options.dropout?.draw } }
}

const headsOp = defineOp<[q: Tensor, k: Tensor, v: Tensor, mask: Tensor | undefined], Arguments & { members: number }>({
  name: 'scaledDotProductAttention',
  forward(ctx, [query, key, value, given], { members, ...args }) {
    const q = rows.withGroups(query, members)
    const [k, v] = [withRows(key), withRows(value)]
    const mask = given && maskOf(given)
    const out = empty(q.shape, q.dtype, q.device) // [B, H, Tq, Dh]
    const { problem, extras } = problemOf(args, mask, members)
    const [qRows, outRows] = [q, out].map((t) => rows.groupedRows(t, members)) as [Rows, Rows]
    const statistics = attend(problem, qRows, headRows(k), headRows(v), outRows, extras)
    ctx.saveForBackward(q, k, v, out, statistics, mask)
    return out
  },
  backward(ctx, grad, { members, ...args }) {
    const [q, k, v, out, statistics, mask] = ctx.saved as [Tensor, Tensor, Tensor, Tensor, Tensor, Tensor | undefined]
    const { problem: shape, extras } = problemOf(args, mask, members)
    const needsKv = ctx.needs[1] || ctx.needs[2]
    // The kernels write dk and dv through one binding, and one kernel for all gradients dq too: what it writes lies in one buffer.
    const fused = needsKv && fusesGradients(q.device.capabilities, shape)
    const alignment = bindingAlignment(k.dtype)
    const start = fused ? Math.ceil(q.size / alignment) * alignment : 0
    const ofValues = start + Math.ceil(k.size / alignment) * alignment
    const gradients = empty([ofValues + k.size], k.dtype, k.device)
    const rowMajor = ({ shape: dims }: Tensor, offset: number) => {
      const [, H, T, Dh] = dims as [number, number, number, number]
      return view(gradients, { shape: dims, strides: [H * T * Dh, T * Dh, Dh, 1], offset })
    }
    const dq = fused ? rowMajor(q, 0) : ctx.gradOut(0)
    const [dk, dv] = [rowMajor(k, start), rowMajor(v, ofValues)]
    const [qRows, outRows, dqRows] = [q, out, dq].map((t) => rows.groupedRows(t, members)) as [Rows, Rows, Rows]
    const saved = { q: qRows, k: headRows(k), v: headRows(v), out: outRows, statistics, ...extras }
    const { bound } = operand(gradients)
    const [dkRows, dvRows] = [dk, dv].map((t): Rows => {
      const [batch, head, token] = t.strides as [number, number, number]
      return { bound, view: [t.offset - gradients.offset, batch, head, token] }
    })
    if (fused) dqRows.bound = bound
    const dkv = needsKv ? { dk: dkRows!, dv: dvRows! } : undefined
    const dOut = rows.groupedRows(rows.withGroups(grad, members), members)
    attendBackward(shape, { ...saved, dOut }, dqRows, dkv)
    return [dq, ...(needsKv ? [dk, dv] : [])]
  },
  differentiableBackward(ctx, grad, { options }) {
    const inputs = [ctx.input(0), ctx.input(1), ctx.input(2)] as const
    return attentionGradients('scaledDotProductAttention', inputs, grad, options, ctx.saved[5])
  },
})

/**
 * Attention softmax(q k^T / sqrt(Dh)) v in one kernel, which never stores the scores [Tq, Tk] (FlashAttention, arXiv 2205.14135). A row of
 * scores with NaN or Infinity, or of -Infinity alone, gives NaN; -Infinity beside finite scores has weight 0. Scores beyond 2.358e38 count
 * as infinite, and an infinite value may give NaN where it should give infinity. Backward computes probabilities as exp(score - logsumexp),
 * whose relative error grows with the size of the scores. Views are read where they lie if their last dim is contiguous, and queries of heads
 * that share keys if those heads follow each other evenly spaced.
 *
 * With `causal` or a mask nothing of what is hidden counts, NaN neither, and tiles that `causal` hides are not computed. A query that sees no
 * key gives zeros, and so do its gradients, where PyTorch gives NaN. The mask is read where it lies, broadcast by strides of 0.
 * @param q queries [B, H, Tq, Dh], float32 or float16; inside `autocast` q, k and v are cast to its dtype
 * @param k keys [B, Hkv, Tk, Dh], of the dtype of q; Hkv divides H, and head h reads the keys and values h * Hkv / H, rounded down (grouped-query
 *   attention, arXiv 2305.13245)
 * @param v values [B, Hkv, Tk, Dh], of the dtype of q
 * @param options.causal whether query i sees keys 0 to i alone: as PyTorch's `is_causal`, a lower triangle that begins at the top left
 * @param options.mask float32, float16 or int32, broadcasts to [B, H, Tq, Tk]; see AttentionOptions, also for dropout, of which backward draws the
 *   same mask again, so that none is stored, and for the scale
 * @returns [B, H, Tq, Dh]
 * @throws ShapeError for other dtypes or shapes, or a probability outside [0, 1]; ArgumentError for an unknown option, a scale that is not finite,
 *   or a mask that requires a gradient
 */
export function scaledDotProductAttention(
  q: Tensor,
  k: Tensor,
  v: Tensor,
  options: AttentionOptions = {},
  ...extra: []
): Tensor {
  const name = 'scaledDotProductAttention'
  checkTensor(name, q, 'q')
  checkTensor(name, k, 'k')
  checkTensor(name, v, 'v')
  checkAttentionOptions(name, options)
  checkNoMore(name, extra)
  const inputs = [toLowerPrecision(q), toLowerPrecision(k), toLowerPrecision(v)] as [Tensor, Tensor, Tensor]
  const [batch, heads, queries, width] = q.shape as [number, number, number, number]
  const [, shared, keys] = k.shape as [number, number, number]
  const kv = `${[batch, shared, keys, width]}`
  const fits = inputs.every((t) => t.ndim === 4) && `${k.shape}` === kv && `${v.shape}` === kv && heads % shared === 0
  if (!shareFloat(inputs) || !fits) {
    const takes = '[B, H, Tq, Dh], [B, Hkv, Tk, Dh] and [B, Hkv, Tk, Dh] of one dtype, float32 or float16, where Hkv divides H'
    throw mismatch(name, inputs, takes)
  }
  checkMask(name, options.mask, [batch, heads, queries, keys])
  const shape = attentionShape(batch, shared, queries, keys, width, inputs[0].dtype, options.scale)
  return headsOp([...inputs, options.mask], { shape, options: drawOptions(options, q), members: heads / shared })
}

const packedOp = defineOp<[qkv: Tensor, mask: Tensor | undefined], Arguments>({
  name: 'packedAttention',
  forward(ctx, [input, given], args) {
    const qkv = withRows(input)
    const mask = given && maskOf(given)
    const { problem: shape, extras } = problemOf(args, mask, 1)
    const out = empty([shape.batch, shape.queries, shape.heads * shape.width], qkv.dtype, qkv.device) // [B, T, H * Dh]
    const [q, k, v] = blocksOf(qkv, shape) as [Rows, Rows, Rows]
    const statistics = attend(shape, q, k, v, blocksOf(out, shape)[0]!, extras)
    ctx.saveForBackward(qkv, out, statistics, mask)
    return out
  },
  backward(ctx, grad, args) {
    const [qkv, out, statistics, mask] = ctx.saved as [Tensor, Tensor, Tensor, Tensor | undefined]
    const { problem: shape, extras } = problemOf(args, mask, 1)
    const [q, k, v] = blocksOf(qkv, shape) as [Rows, Rows, Rows]
    const dqkv = ctx.gradOut(0)
    const [dq, dk, dv] = blocksOf(dqkv, shape) as [Rows, Rows, Rows]
    const dOut = blocksOf(withRows(grad), shape)[0]!
    const saved = { q, k, v, out: blocksOf(out, shape)[0]!, statistics, ...extras }
    attendBackward(shape, { ...saved, dOut }, dq, { dk, dv })
    return [dqkv]
  },
  differentiableBackward(ctx, grad, { shape, options }) {
    const { batch: B, heads: H, queries: T, width } = shape
    const heads = (t: Tensor, blocks: number) => permute(reshape(t, [B, T, blocks, H, width]), [2, 0, 3, 1, 4]) // [blocks, B, H, T, Dh]
    const qkv = split(heads(ctx.input(0), 3), 1, 0).map((t) => squeeze(t, 0)) as [Tensor, Tensor, Tensor]
    const found = attentionGradients('packedAttention', qkv, squeeze(heads(grad, 1), 0), options, ctx.saved[3])
    const packed = permute(stack(found, 0), [1, 3, 0, 2, 4]) // [B, T, 3, H, Dh]
    return [reshape(packed, [B, T, 3 * H * width])]
  },
})

/**
 * Self-attention on the output of one Linear for queries, keys and values, which is read where it lies.
 * @param qkv [B, T, 3 * H * Dh], float32 or float16: a block each of q, k and v, with heads side by side; inside `autocast` it is cast to its
 *   dtype
 * @param heads H
 * @param options those of `scaledDotProductAttention`, with a mask that broadcasts to [B, H, T, T]
 * @returns [B, T, H * Dh]
 * @throws ShapeError for another dtype, or a last dim that is no multiple of 3 * heads; ArgumentError when `heads` is no number, and for
 *   options that `scaledDotProductAttention` refuses
 */
export function packedAttention(qkv: Tensor, heads: number, options: AttentionOptions = {}, ...extra: []): Tensor {
  checkTensor('packedAttention', qkv)
  checkNumber('packedAttention', heads, 'heads')
  checkAttentionOptions('packedAttention', options)
  checkNoMore('packedAttention', extra)
  const input = toLowerPrecision(qkv)
  const [batch, tokens, last] = input.shape as [number, number, number]
  if (!isFloat(input.dtype) || input.ndim !== 3 || !isCount(heads) || last % (3 * heads) !== 0) {
    throw mismatch('packedAttention', [input], `float32 or float16 [B, T, 3 * ${heads} * Dh] for ${heads} heads`)
  }
  checkMask('packedAttention', options.mask, [batch, heads, tokens, tokens])
  const shape = attentionShape(batch, heads, tokens, tokens, last / (3 * heads), input.dtype, options.scale)
  return packedOp([input, options.mask], { shape, options: drawOptions(options, qkv) })
}
