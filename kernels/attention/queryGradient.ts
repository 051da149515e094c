import { type KernelSpec, reads, writes } from '../spec.ts'
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
  operands,
  productFlops,
  type RowView,
  rowVariants,
} from './variants.ts'

/** The operands of the gradient of the queries, as views of the buffers at the bindings of the same names. */
export interface QueryGradientProblem extends AttentionShape {
  q: RowView
  k: RowView
  v: RowView
  out: RowView
  dOut: RowView
  dq: RowView
}

/** The variant for tensor cores. */
export const queryGradientMatrices = {
  source: matrixSource,
  rows: ({ queries }: QueryGradientProblem) => queries,
  steps: ({ keys }: QueryGradientProblem) => keys,
  step: 'KEYS',
  // A sum for each thread.
  extra: (threads: number) => 4 * threads,
  views: ({ q, k, v, dOut }: QueryGradientProblem) => [q, k, v, dOut],
} as const
const matrices = subgroupMatrix(queryGradientMatrices)

/**
 * dq [B, H, Tq, Dh], the gradient of the queries, from q and dOut [B, H, Tq, Dh], k and v [B, H, Tk, Dh], and from out [B, H, Tq, Dh]
 * and lse [B, H, Tq] of `attention` (FlashAttention, 2205.14135). The kernel also writes delta [B, H, Tq], the row sums of dOut * out,
 * which `keyValueGradient` reads, so this kernel runs first.
 */
export const queryGradient: KernelSpec<QueryGradientProblem> = {
  name: 'attentionQueryGradient',
  bindings: [
    ...operands('read', 'q', 'k', 'v', 'out', 'dOut'),
    ...reads('f32', 'lse'),
    ...operands('read_write', 'dq'),
    ...writes('f32', 'delta'),
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
