import type { Binding, Constants, Param, Scalar } from '../spec.ts'
import { bindingDtype, branchStrides, reads, scalars, writes } from '../spec.ts'

/** Where an operand lies in its buffer, in elements: its first element, then strides of three batch dims, 0 where it repeats. */
export type BatchView = [offset: number, batch0: number, batch1: number, batch2: number]

/** The steps that a product goes through before it is stored, in this order. The numbers are bits of `flags`. */
export const EPILOGUE = {
  /** Adds bias[column]. */
  bias: 1,
  /** Stores the value as it is now in pre[row, column]. */
  pre: 2,
  /** Applies GELU, the exact (erf) form. */
  gelu: 4,
  /** Multiplies by gelu'(aux[row, column]). */
  geluGrad: 8,
  /** Multiplies by `keep`, or by 0 where the element's word of the random stream is below `threshold`, as the dropout kernel does on C. */
  dropout: 16,
  /** Adds aux[row, column], which excludes `geluGrad`. */
  add: 32,
} as const

/**
 * C[batch] = epilogue(A[batch] B[batch]) over three batch dims, with A [m, k] and B [k, n] in any strides. bias [n] and pre [batches, m,
 * n] are contiguous; rows of aux [m, n] are. C is contiguous, [splits, batches, m, n]. With several splits it holds partial products for
 * `matmulCombine`, and `flags` is 0.
 */
export interface Matmul {
  a: BatchView
  b: BatchView
  aux: BatchView
  m: number
  n: number
  k: number
  /** The product of the three batch sizes. */
  batches: number
  /** The sizes of the second and the third batch dim. */
  batch1: number
  batch2: number
  /** The strides of A from row to row and along k, of B along k and from column to column, and of aux from row to row. */
  aRow: number
  aCol: number
  bRow: number
  bCol: number
  auxRow: number
  /** The rows of C that a workgroup of the `subgroup` variant takes. */
  rows: number
  /** The number of parts that k is cut into, and the length of a part. */
  splits: number
  chunk: number
  /** The steps of the epilogue, as bits of `EPILOGUE`. */
  flags: number
  /** The parameters of the dropout kernel, whose `scale` is `keep` here. */
  threshold?: number
  keep?: number
  seedLow?: number
  seedHigh?: number
  streamLow?: number
  streamHigh?: number
  /** The operands that are float16; the others are float32, as bias and partial products always are. */
  dtypes?: { readonly [name in Element]?: 'f16' }
}

/** The longest k that is added up as it comes. The rounding error grows with k, to at most 1e-5 where all products are alike. */
const LONG_K = 16384

/** Whether k is so long that it is added up in levels. */
export function isLong({ k }: Pick<Matmul, 'k'>): boolean {
  return k > LONG_K
}

/** The bindings that may be float16. */
export type Element = 'a' | 'b' | 'aux' | 'c' | 'pre'

export function dtype(name: Element): (problem: Matmul) => Scalar {
  return ({ dtypes }) => dtypes?.[name] ?? 'f32'
}

/** The constants of the epilogue, and the element types of bindings that are float16. */
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
  ...scalars('u32', 'm', 'n', 'k', 'batches', 'batch1', 'batch2', 'aRow', 'aCol', 'bRow', 'bCol', 'auxRow'),
  ...scalars('u32', 'rows', 'splits', 'chunk', 'flags'),
  ...[
    ...scalars('u32', 'threshold'),
    ...scalars('f32', 'keep'),
    ...scalars('u32', 'seedLow', 'seedHigh'),
    { name: 'streamLow', type: 'u32', branchStep: 'streamStep' } as const,
    ...scalars('u32', 'streamHigh', 'streamStep'),
  ].map((param): Param => ({ ...param, optional: true })),
]

export const bindings: readonly Binding[] = [
  { name: 'a', access: 'read', dtype: dtype('a'), offset: 'a' },
  { name: 'b', access: 'read', dtype: dtype('b'), offset: 'b' },
  ...reads('f32', 'bias'),
  { name: 'aux', access: 'read', dtype: dtype('aux'), offset: 'aux' },
  ...writes((problem: Matmul) => (problem.splits > 1 ? 'f32' : dtype('c')(problem)), 'c'),
  ...writes(dtype('pre'), 'pre'),
]

export const combineBindings: readonly Binding[] = [
  ...reads('f32', 'partials', 'bias'),
  { name: 'aux', access: 'read', dtype: dtype('aux'), offset: 'aux' },
  ...writes(dtype('c'), 'c'),
  ...writes(dtype('pre'), 'pre'),
]
