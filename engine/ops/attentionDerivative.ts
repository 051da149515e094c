// The gradients of attention as ops on the tape, for second derivatives. They hold the scores [Tq, Tk] in memory.
import { noGrad } from '../autograd/tape.ts'
import { ArgumentError } from '../base/errors.ts'
import type { Tensor } from '../tensor/tensor.ts'
import type { CheckedOptions } from './attentionOptions.ts'
import { ge } from './compare.ts'
import { ones } from './create.ts'
import { add, mul, sub } from './elementwise.ts'
import { matmul } from './matmul.ts'
import { sum } from './reduce.ts'
import { broadcastTo, reshape, sumTo, transpose } from './shape.ts'
import { softmax } from './softmax.ts'
import { tril } from './triangle.ts'
import { where } from './where.ts'

/** A score that is hidden: its exponential is 0 beside any other. */
const HIDDEN = -1e30
/** A float mask below this hides. */
const LEAST = -2.358e38

/**
 * The gradients of softmax(q k^T scale + mask) v.
 * @param inputs q [B, H, Tq, Dh], and k and v [B, Hkv, Tk, Dh]
 * @param grad the gradient of the result [B, H, Tq, Dh]
 * @throws ArgumentError with dropout, and for float16
 */
export function attentionGradients(
  op: string,
  inputs: readonly [q: Tensor, k: Tensor, v: Tensor],
  grad: Tensor,
  options: CheckedOptions,
  mask: Tensor | undefined,
): [dq: Tensor, dk: Tensor, dv: Tensor] {
  const [q, k, v] = inputs
  const { causal, dropout, scale = q.shape.at(-1)! ** -0.5 } = options
  if (dropout || q.dtype !== 'float32') {
    throw new ArgumentError(`grad: ${op} has no second derivative with dropout or in float16; leave createGraph out`)
  }
  const [B, H, Tq] = q.shape as [number, number, number, number]
  const [, Hkv, Tk, Dh] = k.shape as [number, number, number, number]
  const members = H / Hkv
  // Heads of queries that share keys stand side by side.
  const grouped = (t: Tensor) => reshape(t, [B, Hkv, members, Tq, Dh])
  const shared = (t: Tensor) => reshape(t, [B, Hkv, 1, Tk, Dh])
  const [queries, keys, values, top] = [grouped(q), shared(k), shared(v), grouped(grad)]
  const scores = mul(matmul(queries, transpose(keys, -1, -2)), scale) // [B, Hkv, members, Tq, Tk]
  const { visible, bias } = noGrad(() => seen(mask, causal, [B, H, Tq, Tk], [B, Hkv, members, Tq, Tk], q))
  const shown = bias ? add(scores, bias) : scores
  const hidden = visible ? where(visible, shown, HIDDEN) : shown
  // A row that sees nothing has no weights.
  const p = visible ? where(visible, softmax(hidden, -1), 0) : softmax(hidden, -1)
  const dp = matmul(top, transpose(values, -1, -2)) // [B, Hkv, members, Tq, Tk]
  const ds = mul(mul(p, sub(dp, sum(mul(dp, p), -1, true))), scale)
  const keyed = (t: Tensor, rows: Tensor) => reshape(sumTo(matmul(transpose(t, -1, -2), rows), keys.shape), k.shape)
  return [reshape(matmul(ds, keys), q.shape), keyed(ds, queries), keyed(p, top)]
}

/** Which scores are seen, as int32, and what is added to them; undefined where all are, and where nothing is. */
function seen(
  mask: Tensor | undefined,
  causal: boolean,
  scores: readonly number[],
  grouped: readonly number[],
  { device }: Tensor,
): { visible: Tensor | undefined; bias: Tensor | undefined } {
  const triangle = causal ? tril(ones(scores.slice(-2), { dtype: 'int32', device })) : undefined
  if (!mask) return { visible: triangle, bias: undefined }
  const whole = reshape(broadcastTo(mask, scores), grouped)
  if (mask.dtype === 'int32') return { visible: triangle ? where(triangle, whole, 0) : whole, bias: undefined }
  const visible = ge(whole, LEAST)
  return { visible: triangle ? where(triangle, visible, 0) : visible, bias: where(visible, whole, 0) }
}
