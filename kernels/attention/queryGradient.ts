import type { KernelSpec } from '../spec.ts'
import direct from './queryGradientDirect.wgsl'
import quad from './queryGradientQuad.wgsl'
import subgroup from './queryGradientSubgroup.wgsl'
import matrixSource from './queryGradientSubgroupMatrix.wgsl'
import tiled from './queryGradientTiled.wgsl'
import { subgroupMatrix, takesMatrices } from './subgroupMatrix.ts'
import {
  type AttentionShape,
  attentionParams,
  chooseVariant,
  operandBytes,
  operandType,
  productFlops,
  type RowView,
  rowVariants,
} from './variants.ts'

/** Operands of the gradient of the queries: views of the buffers at the bindings of the same names. */
export interface QueryGradientProblem extends AttentionShape {
  q: RowView
  k: RowView
  v: RowView
  out: RowView
  dOut: RowView
  dq: RowView
}

/** By tensor cores. */
export const queryGradientMatrices = {
  source: matrixSource,
  rows: ({ queries }: QueryGradientProblem) => queries,
  steps: ({ keys }: QueryGradientProblem) => keys,
  step: 'KEYS',
  // A sum a thread.
  extra: (threads: number) => 4 * threads,
  views: ({ q, k, v, dOut }: QueryGradientProblem) => [q, k, v, dOut],
} as const
const matrices = subgroupMatrix(queryGradientMatrices)

/**
 * dq from dOut and what the forward kernel left (out, lse [B, H, Tq]). Also writes delta [B, H, Tq], the row sums of
 * dOut * out, which the gradient of keys and values reads: this kernel runs first.
 */
export const queryGradient: KernelSpec<QueryGradientProblem> = {
  name: 'attentionQueryGradient',
  bindings: [
    { name: 'q', access: 'read', dtype: operandType, offset: 'q' },
    { name: 'k', access: 'read', dtype: operandType, offset: 'k' },
    { name: 'v', access: 'read', dtype: operandType, offset: 'v' },
    { name: 'out', access: 'read', dtype: operandType, offset: 'out' },
    { name: 'dOut', access: 'read', dtype: operandType, offset: 'dOut' },
    { name: 'lse', access: 'read', dtype: 'f32' },
    { name: 'dq', access: 'read_write', dtype: operandType, offset: 'dq' },
    { name: 'delta', access: 'read_write', dtype: 'f32' },
  ],
  params: attentionParams(8, 'q', 'k', 'v', 'out', 'dOut', 'dq'),
  variants: [
    ...rowVariants({
      rows: ({ queries }) => queries,
      steps: ({ keys }) => keys,
      direct,
      directStep: 4,
      subgroup,
      quad,
      tiled,
    }),
    matrices,
  ],
  choose(device, problem) {
    if (takesMatrices(device, problem, matrices, problem.queries)) return matrices.name
    return chooseVariant(device, problem, problem.queries <= 4)
  },
  flops: productFlops(3),
  bytes: operandBytes(4, 2),
}
