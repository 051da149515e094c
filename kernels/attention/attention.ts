import type { KernelSpec } from '../spec.ts'
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
  operandType,
  productFlops,
  type RowView,
  rowVariants,
} from './variants.ts'

/** Operands of attention: views of the buffers at bindings q, k, v and out. */
export interface AttentionProblem extends AttentionShape {
  q: RowView
  k: RowView
  v: RowView
  out: RowView
}

/** By tensor cores. */
export const attentionMatrices = {
  source: matrixSource,
  rows: ({ queries }: AttentionProblem) => queries,
  steps: ({ keys }: AttentionProblem) => keys,
  step: 'KEYS',
  // A sum a thread, and a flag that takes up 16 bytes.
  extra: (threads: number) => 4 * threads + 16,
  views: ({ q, k, v }: AttentionProblem) => [q, k, v],
} as const
const matrices = subgroupMatrix(attentionMatrices)

/** out = softmax(q k^T * scale) v with an online softmax; lse [B, H, Tq] is the logarithm of each row's sum of exponentials. */
export const attention: KernelSpec<AttentionProblem> = {
  name: 'attention',
  bindings: [
    { name: 'q', access: 'read', dtype: operandType, offset: 'q' },
    { name: 'k', access: 'read', dtype: operandType, offset: 'k' },
    { name: 'v', access: 'read', dtype: operandType, offset: 'v' },
    { name: 'out', access: 'read_write', dtype: operandType, offset: 'out' },
    { name: 'lse', access: 'read_write', dtype: 'f32' },
  ],
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
