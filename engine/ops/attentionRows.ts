// What the attention ops share: how heads lie in packed tensors, and the launches of the kernels.
import { type AttentionShape, attention, keyValueGradient, queryGradient, type RowView } from '../../kernels/attention/index.ts'
import { ShapeError } from '../base/errors.ts'
import { type Dtype, isFloat } from '../layout/dtype.ts'
import { format } from '../layout/shape.ts'
import { type Bindable, run } from '../tensor/run.ts'
import { operand } from '../tensor/strided.ts'
import { empty, type Tensor } from '../tensor/tensor.ts'

/** An operand of the kernels: memory, and how rows of a head lie in it. */
export interface Rows {
  bound: Bindable
  view: RowView
}

/** Rows of a [B, H, T, Dh] tensor whose last dim is contiguous. */
export function headRows(t: Tensor): Rows {
  const { layout, bound } = operand(t)
  const [batch, head, token] = layout.strides as [number, number, number, number]
  return { bound, view: [layout.offset, batch, head, token] }
}

/** Rows of one block of a [B, T, blocks * H * Dh] tensor whose last dim is contiguous: what a Linear for several operands writes. */
export function blockRows(t: Tensor, block: number, { heads, width }: AttentionShape): Rows {
  const { layout, bound } = operand(t)
  const [batch, token] = layout.strides as [number, number, number]
  return { bound, view: [layout.offset + block * heads * width, batch, width, token] }
}

/** The tensor where kernels can read its rows, else a copy. */
export function withRows(t: Tensor): Tensor {
  return t.strides.at(-1) === 1 || t.shape.at(-1) === 1 ? t : t.contiguous()
}

/** Runs the forward kernel. @returns the logarithms of the rows' sums of exponentials [B, H, Tq] */
export function attend(shape: AttentionShape, q: Rows, k: Rows, v: Rows, out: Rows): Tensor {
  const lse = empty([shape.batch, shape.heads, shape.queries], 'float32', q.bound.device)
  const views = { q: q.view, k: k.view, v: v.view, out: out.view }
  run(attention, { ...shape, ...views }, [q.bound, k.bound, v.bound, out.bound, lse])
  return lse
}

/** What the backward kernels read. */
interface Saved {
  q: Rows
  k: Rows
  v: Rows
  out: Rows
  lse: Tensor
  dOut: Rows
}

/** Runs the backward kernels; without `dkv` only that of the queries. dk and dv lie in the same memory. */
export function attendBackward(
  shape: AttentionShape,
  { q, k, v, out, lse, dOut }: Saved,
  dq: Rows,
  dkv?: { dk: Rows; dv: Rows },
): void {
  const delta = empty(lse.shape, 'float32', lse.device)
  const views = { q: q.view, k: k.view, v: v.view, dOut: dOut.view }
  const queryTensors = [q.bound, k.bound, v.bound, out.bound, dOut.bound, lse, dq.bound, delta]
  run(queryGradient, { ...shape, ...views, out: out.view, dq: dq.view }, queryTensors)
  if (!dkv) return
  const { dk, dv } = dkv
  const keyTensors = [q.bound, k.bound, v.bound, dOut.bound, lse, delta, dk.bound]
  run(keyValueGradient, { ...shape, ...views, dk: dk.view, dv: dv.view }, keyTensors)
}

export function shapeOf(
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

/** Whether all are float32, or all float16. */
export function alikeFloats(tensors: readonly Tensor[]): boolean {
  return tensors.every(({ dtype }) => isFloat(dtype) && dtype === tensors[0]!.dtype)
}

export function isCount(heads: number): boolean {
  return Number.isInteger(heads) && heads >= 1
}

export function mismatch(op: string, got: readonly Tensor[], takes: string): ShapeError {
  return new ShapeError(`${op}: got ${got.map((t) => `${t.dtype} ${format(t.shape)}`).join(', ')}; takes ${takes}`)
}
