// Parts that the attention ops share: how heads lie in their tensors, and the launches of the kernels.
import { type AttentionShape, attention, keyValueGradient, queryGradient, type RowView } from '../../kernels/attention/index.ts'
import { type Dtype, isFloat } from '../layout/dtype.ts'
import { type Bindable, run } from '../tensor/run.ts'
import { operand } from '../tensor/strided.ts'
import { empty, type Tensor } from '../tensor/tensor.ts'

/** An operand of the kernels: its memory, and where the rows of each head lie in it. */
export interface Rows {
  bound: Bindable
  view: RowView
}

/** The rows of a tensor [B, H, T, Dh] whose last dim is contiguous. */
export function headRows(t: Tensor): Rows {
  const { layout, bound } = operand(t)
  const [batch, head, token] = layout.strides as [number, number, number, number]
  return { bound, view: [layout.offset, batch, head, token] }
}

/** The rows of each block of a tensor [B, T, blocks * H * Dh], such as the output of a Linear for q, k and v, whose last dim is contiguous. */
export function blocksOf(t: Tensor, { heads, width }: AttentionShape): Rows[] {
  const { layout, bound } = operand(t)
  const [batch, token] = layout.strides as [number, number, number]
  const block = heads * width
  const count = t.shape.at(-1)! / block
  return Array.from({ length: count }, (_, i) => ({ bound, view: [layout.offset + i * block, batch, width, token] }))
}

/** Returns the tensor if its last dim is contiguous, else a row-major copy. */
export function withRows(t: Tensor): Tensor {
  return t.strides.at(-1) === 1 || t.shape.at(-1) === 1 ? t : t.contiguous()
}

/** Launches the forward kernel. @returns the logsumexp of each row of scores, float32 [B, H, Tq] */
export function attend(shape: AttentionShape, q: Rows, k: Rows, v: Rows, out: Rows): Tensor {
  const lse = empty([shape.batch, shape.heads, shape.queries], 'float32', q.bound.device)
  const views = { q: q.view, k: k.view, v: v.view, out: out.view }
  run(attention, { ...shape, ...views }, [q.bound, k.bound, v.bound, out.bound, lse])
  return lse
}

/** The operands that the backward kernels read. */
interface BackwardOperands {
  q: Rows
  k: Rows
  v: Rows
  out: Rows
  lse: Tensor
  dOut: Rows
}

/** Launches the backward kernels; without `dkv` only the kernel for dq. dk and dv lie in one buffer. */
export function attendBackward(
  shape: AttentionShape,
  { q, k, v, out, lse, dOut }: BackwardOperands,
  dq: Rows,
  dkv?: { dk: Rows; dv: Rows },
): void {
  const delta = empty(lse.shape, 'float32', lse.device) // [B, H, Tq]
  const views = { q: q.view, k: k.view, v: v.view, dOut: dOut.view }
  const queryTensors = [q.bound, k.bound, v.bound, out.bound, dOut.bound, lse, dq.bound, delta]
  run(queryGradient, { ...shape, ...views, out: out.view, dq: dq.view }, queryTensors)
  if (!dkv) return
  const { dk, dv } = dkv
  const keyTensors = [q.bound, k.bound, v.bound, dOut.bound, lse, delta, dk.bound]
  run(keyValueGradient, { ...shape, ...views, dk: dk.view, dv: dv.view }, keyTensors)
}

/** The sizes of the kernels' problem; scores are scaled by 1 / sqrt(width). */
export function attentionShape(
  batch: number,
  heads: number,
  queries: number,
  keys: number,
  width: number,
  dtype: Dtype,
): AttentionShape {
  const shape = { batch, heads, queries, keys, width, scale: width ** -0.5 }
  return dtype === 'float16' ? { ...shape, dtype: 'f16' } : shape
}

/** Tells whether all tensors are float32, or all are float16. */
export function shareFloat(tensors: readonly Tensor[]): boolean {
  return tensors.every(({ dtype }) => isFloat(dtype) && dtype === tensors[0]!.dtype)
}

/** Tells whether a number of heads is a whole number of at least 1. */
export function isCount(heads: number): boolean {
  return Number.isInteger(heads) && heads >= 1
}
