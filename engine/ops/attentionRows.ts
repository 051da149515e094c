// Parts that the attention ops share: how heads lie in their tensors, and the launches of the kernels.
import {
  type AttentionShape,
  attention,
  attentionGradients,
  fusesGradients,
  keyValueGradient,
  queryGradient,
  type RowView,
} from '../../kernels/attention/index.ts'
import type { RandomDraw } from '../autograd/recomputation.ts'
import { bindingAlignment, type Dtype, isFloat } from '../layout/dtype.ts'
import { Version } from '../memory/version.ts'
import { type Bindable, fromStorageStart, run } from '../tensor/run.ts'
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

/**
 * Returns a tensor [B, members * H, T, Dh] whose last dim is contiguous and in which the rows of `members` heads follow each other evenly
 * spaced: the tensor itself where that is so, else a row-major copy.
 */
export function withGroups(t: Tensor, members: number): Tensor {
  const rows = withRows(t)
  const tokens = rows.shape[2]!
  if (members === 1 || tokens === 1 || rows.strides[1] === tokens * rows.strides[2]!) return rows
  return t.contiguous()
}

/** The rows of a tensor from `withGroups`, as [B, H, members * T, Dh]. */
export function groupedRows(t: Tensor, members: number): Rows {
  const { bound, view } = headRows(t)
  const [offset, batch, head, token] = view
  if (members === 1) return { bound, view }
  return { bound, view: [offset, batch, members * head, t.shape[2] === 1 ? head : token] }
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

/** The options of a launch: the mask, which the problem describes, and the random stream of dropout. */
export interface Extras {
  mask?: Bindable | undefined
  draw?: RandomDraw | undefined
}

/** The length of each of the two rows of statistics: the rows of scores, rounded up so that a binding may start at the second row. */
function statisticsLength({ batch, heads, queries }: AttentionShape): number {
  const alignment = bindingAlignment('float32')
  return alignment * Math.ceil((batch * heads * queries) / alignment)
}

/**
 * Launches the forward kernel.
 * @returns float32 [2, B * H * Tq rounded up]: the logsumexp of each row of scores, and room for what backward computes of it
 */
export function attend(shape: AttentionShape, q: Rows, k: Rows, v: Rows, out: Rows, { mask, draw }: Extras = {}): Tensor {
  const statistics = empty([2, statisticsLength(shape)], 'float32', q.bound.device)
  const views = { q: q.view, k: k.view, v: v.view, out: out.view }
  // A mask that does not exist is bound as the queries, which are read anyway.
  const tensors = [q.bound, k.bound, v.bound, out.bound, statistics, mask ?? q.bound]
  run(attention, { ...shape, ...views, ...draw?.words }, tensors, draw && { updateParams: () => draw.next() })
  return statistics
}

/** The operands that the backward kernels read. */
interface BackwardOperands extends Extras {
  q: Rows
  k: Rows
  v: Rows
  out: Rows
  statistics: Tensor
  dOut: Rows
}

/** Launches the backward kernels; without `dkv` only the kernel for dq. dk and dv lie in one buffer. Where dq does too, one kernel may do all. */
export function attendBackward(
  shape: AttentionShape,
  { q, k, v, out, statistics, dOut, mask = q.bound, draw }: BackwardOperands,
  dq: Rows,
  dkv?: { dk: Rows; dv: Rows },
): void {
  const views = { q: q.view, k: k.view, v: v.view, dOut: dOut.view }
  const problem = { ...shape, ...views, ...draw?.words }
  const options = draw && { updateParams: () => draw.words }
  // The kernel writes the second row alone, so what forward saved is not changed.
  const both: Bindable = { ...fromStorageStart(statistics), offset: statistics.offset, version: new Version() }
  if (dkv && dkv.dk.bound === dq.bound && fusesGradients(statistics.device.capabilities, shape)) {
    run(attentionGradients, { ...problem, out: out.view, dq: dq.view, dk: dkv.dk.view, dv: dkv.dv.view }, [
      ...[q.bound, k.bound, v.bound, out.bound, dOut.bound],
      both,
      dq.bound,
    ])
    return
  }
  run(
    queryGradient,
    { ...problem, out: out.view, dq: dq.view },
    [q.bound, k.bound, v.bound, out.bound, dOut.bound, dq.bound, both, mask],
    options,
  )
  if (!dkv) return
  const { dk, dv } = dkv
  const delta = { ...both, offset: both.offset + statisticsLength(shape) }
  run(
    keyValueGradient,
    { ...problem, dk: dk.view, dv: dv.view },
    [q.bound, k.bound, v.bound, dOut.bound, both, delta, dk.bound, mask],
    options,
  )
}

/** The sizes of the kernels' problem. */
export function attentionShape(
  batch: number,
  heads: number,
  queries: number,
  keys: number,
  width: number,
  dtype: Dtype,
  scale = width ** -0.5,
): AttentionShape {
  const shape = { batch, heads, queries, keys, width, scale }
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
