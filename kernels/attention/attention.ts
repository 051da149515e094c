import { type KernelSpec, writes } from '../spec.ts'
import direct from './direct.wgsl'
import quad from './quad.wgsl'
import subgroup from './subgroup.wgsl'
import { subgroupMatrix, takesMatrices } from './subgroupMatrix.ts'
import matrixSource from './subgroupMatrix.wgsl'
import tiled from './tiled.wgsl'
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

/** The operands of attention, as views of the buffers at the bindings of the same names. */
export interface AttentionProblem extends AttentionShape {
  q: RowView
  k: RowView
  v: RowView
  out: RowView
}

/** The variant for tensor cores. */
export const attentionMatrices = {
  source: matrixSource,
  rows: ({ queries }: AttentionProblem) => queries,
  steps: ({ keys }: AttentionProblem) => keys,
  step: 'KEYS',
  // A sum for each thread, and a flag that takes up 16 bytes.
  extra: (threads: number) => 4 * threads + 16,
  views: ({ q, k, v }: AttentionProblem) => [q, k, v],
} as const
const matrices = subgroupMatrix(attentionMatrices)

/**
 * out [B, H, Tq, Dh] = softmax(q k^T * scale) v, for q [B, H, Tq, Dh] and k and v [B, H, Tk, Dh], without the matrix of scores in memory:
 * FlashAttention (2205.14135) with an online softmax (1805.02867). lse [B, H, Tq] is the logarithm of each row's sum of exponentials.
 */
export const attention: KernelSpec<AttentionProblem> = {
  name: 'attention',
  bindings: [...operands('read', 'q', 'k', 'v'), ...operands('read_write', 'out'), ...writes('f32', 'lse')],
  params: attentionParams(5, 'q', 'k', 'v', 'out'),
  variants: [
    ...rowVariants({
      rows: ({ queries }) => queries,
      steps: ({ keys }) => keys,
      direct,
      directStep: 4,
      subgroup,
      quad,
      // Up to 1,024 keys, at most 4e-6 off: it would take 3 to 8 % more time (SwiftShader).
      quadChain: 256,
      tiled,
    }),
    matrices,
  ],
  choose(device, problem) {
    if (takesMatrices(device, problem, matrices, problem.queries)) return matrices.name
    return chooseVariant(device, problem, problem.queries <= 4)
  },
  flops: productFlops(2),
  bytes: operandBytes(2, 2),
}
