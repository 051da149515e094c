import { type Binding, bindingDtype, branchStrides, type Constants, type Param, type Scalar } from '../spec.ts'

/** Where an operand lies in its buffer, in elements: its first element, then strides of three batch dims (0 repeats it). */
export type BatchView = [offset: number, batch0: number, batch1: number, batch2: number]

/** What is done to a product before it is stored, in this order; bits of `flags`. */
export const EPILOGUE = {
  /** + bias[column] */
  bias: 1,
  /** Stored to `pre` as it is now. */
  pre: 2,
  /** gelu(value), the exact (erf) form. */
  gelu: 4,
  /** * gelu'(aux[row, column]) */
  geluGrad: 8,
  /** * `keep`, or * 0 where the element's number of the random stream is below `threshold`, as the dropout kernel does on C */
  dropout: 16,
  /** + aux[row, column]; not with `geluGrad` */
  add: 32,
} as const

/**
 * C[batch] = epilogue(A[batch] B[batch]) over three batch dims, A [m, k] and B [k, n] in any strides. C is contiguous,
 * [splits, batches, m, n]: with several splits these are partial products for `matmulCombine`, and `flags` is 0.
 */
export interface Matmul {
  a: BatchView
  b: BatchView
  aux: BatchView
  m: number
  n: number
  k: number
  /** Product of the three batch sizes. */
  batches: number
  /** Sizes of the second and third batch dim. */
  batch1: number
  batch2: number
  /** Strides of A: from row to row, and along k; of B: along k, and from column to column; of aux: from row to row. */
  aRow: number
  aCol: number
  bRow: number
  bCol: number
  auxRow: number
  /** Rows of C that a workgroup of the `subgroup` variant takes. */
  rows: number
  /** Parts that k is cut into, and the length of one. */
  splits: number
  chunk: number
  /** Of `EPILOGUE`. */
  flags: number
  /** Of dropout: see the kernel of that name, whose `scale` is `keep` here. */
  threshold?: number
  keep?: number
  seedLow?: number
  seedHigh?: number
  streamLow?: number
  streamHigh?: number
  /** Operands and results in float16; float32 what is left out. Bias and partial products are float32. */
  dtypes?: { readonly [name in Element]?: 'f16' }
}

/** The longest k that is added up as it comes: rounding grows with it, at most to 1e-5 where all products are alike. */
const LONG_K = 16384

/** Whether k is so long that it is added up in levels. */
export function isLong({ k }: Pick<Matmul, 'k'>): boolean {
  return k > LONG_K
}

/** What may be float16. */
export type Element = 'a' | 'b' | 'aux' | 'c' | 'pre'

export function dtype(name: Element): (problem: Matmul) => Scalar {
  return ({ dtypes }) => dtypes?.[name] ?? 'f32'
}

/** Constants of the epilogue and for the element types of bindings that are float16. */
export function storeConstants(bindings: readonly Binding[], problem: Matmul): Constants {
  const dropout = (problem.flags & EPILOGUE.dropout) !== 0 ? { DROPOUT: true } : {}
  if (!problem.dtypes) return dropout
  const half = bindings.filter((binding) => bindingDtype(binding, problem) === 'f16')
  const types = half.map(({ name }) => [`Scalar${name[0]!.toUpperCase()}${name.slice(1)}`, 'f16'])
  return { ...dropout, ...Object.fromEntries(types) }
}

export const params: readonly Param[] = [
  branchStrides(6),
  ...['a', 'b', 'aux'].map((name): Param => ({ name, type: 'u32', length: 4 })),
  ...['m', 'n', 'k', 'batches', 'batch1', 'batch2', 'aRow', 'aCol', 'bRow', 'bCol', 'auxRow'].map(
    (name): Param => ({ name, type: 'u32' }),
  ),
  ...['rows', 'splits', 'chunk', 'flags'].map((name): Param => ({ name, type: 'u32' })),
  { name: 'threshold', type: 'u32', optional: true },
  { name: 'keep', type: 'f32', optional: true },
  { name: 'seedLow', type: 'u32', optional: true },
  { name: 'seedHigh', type: 'u32', optional: true },
  { name: 'streamLow', type: 'u32', optional: true, branchStep: 'streamStep' },
  { name: 'streamHigh', type: 'u32', optional: true },
  { name: 'streamStep', type: 'u32', optional: true },
]

export const bindings: readonly Binding[] = [
  { name: 'a', access: 'read', dtype: dtype('a'), offset: 'a' },
  { name: 'b', access: 'read', dtype: dtype('b'), offset: 'b' },
  { name: 'bias', access: 'read', dtype: 'f32' },
  { name: 'aux', access: 'read', dtype: dtype('aux'), offset: 'aux' },
  { name: 'c', access: 'read_write', dtype: (problem: Matmul) => (problem.splits > 1 ? 'f32' : dtype('c')(problem)) },
  { name: 'pre', access: 'read_write', dtype: dtype('pre') },
]

export const combineBindings: readonly Binding[] = [
  { name: 'partials', access: 'read', dtype: 'f32' },
  { name: 'bias', access: 'read', dtype: 'f32' },
  { name: 'aux', access: 'read', dtype: dtype('aux'), offset: 'aux' },
  { name: 'c', access: 'read_write', dtype: dtype('c') },
  { name: 'pre', access: 'read_write', dtype: dtype('pre') },
]
