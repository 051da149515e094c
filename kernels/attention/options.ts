// Attention has options beside its plain form: a causal or a given mask, dropout, and heads of queries that share keys.
import type { Binding, Constants, Param, Scalar } from '../spec.ts'
import { scalars } from '../spec.ts'
import type { AttentionOptions, AttentionShape } from './shape.ts'

/** Whether a problem has options that only some variants take. */
export function hasOptions({ causal, masks, threshold }: AttentionOptions): boolean {
  return causal === true || masks !== undefined || threshold !== undefined
}

/** The constants of a problem's options: none for plain attention, so that its pipelines stay as they are. */
export function optionConstants({ queries, ...options }: AttentionShape): Constants {
  const { causal, masks, threshold, period = queries } = options
  return {
    ...(causal && { CAUSAL: true }),
    ...(masks && { MASK: masks === 'additive' ? 1 : 2 }),
    ...(threshold !== undefined && { DROPOUT: true }),
    ...((causal || masks) && period !== queries && { GROUPED: true }),
  }
}

/** The mask; a problem without one binds anything of the type of its operands. */
export const maskBinding: Binding = {
  name: 'mask',
  access: 'read',
  dtype: ({ masks, dtype }: AttentionShape): Scalar => (masks ? (masks === 'boolean' ? 'i32' : 'f32') : (dtype ?? 'f32')),
  offset: 'mask',
}

/** The view of the mask, among the views of the operands. */
export const maskParam: Param = { name: 'mask', type: 'u32', length: 4, optional: true }

const optional = (params: readonly Param[]): Param[] => params.map((param) => ({ ...param, optional: true }))

/** The parameters behind those of plain attention. */
export const optionParams: readonly Param[] = optional([
  ...scalars('u32', 'maskStep', 'period', 'threshold'),
  ...scalars('f32', 'keepScale'),
  ...scalars('u32', 'seedLow', 'seedHigh'),
  { name: 'streamLow', type: 'u32', branchStep: 'streamStep' },
  ...scalars('u32', 'streamHigh', 'streamStep'),
])

/** The pairs of a query and a key of a head that a causal mask leaves. */
export function visiblePairs({ queries, keys, causal, period = queries }: AttentionShape): number {
  if (!causal) return queries * keys
  const triangle = Math.min(period, keys)
  return (queries / period) * ((triangle * (triangle + 1)) / 2 + (period - triangle) * keys)
}

/** The numbers that decide the fastest variant: the sizes, and for a problem with options a code of them. */
export function optionClass(problem: AttentionShape): readonly number[] {
  const { batch, heads, queries, keys, width, causal, masks, threshold } = problem
  const code = (causal ? 2 : 0) + (masks ? 4 : 0) + (threshold === undefined ? 0 : 8)
  // Each power of two is a class of its own.
  return [batch, heads, queries, keys, width, ...(code > 0 ? [2 ** code] : [])]
}
