import type { KernelSpec } from '../spec.ts'
import direct from './keyValueGradientDirect.wgsl'
import quad from './keyValueGradientQuad.wgsl'
import subgroup from './keyValueGradientSubgroup.wgsl'
import matrixSource from './keyValueGradientSubgroupMatrix.wgsl'
import tiled from './keyValueGradientTiled.wgsl'
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

/** Operands of the gradients of keys and values: views of the buffers at q, k, v and dOut; dk and dv are both in dkv. */
export interface KeyValueGradientProblem extends AttentionShape {
  q: RowView
  k: RowView
  v: RowView
  dOut: RowView
  dk: RowView
  dv: RowView
}

/** By tensor cores. */
export const keyValueGradientMatrices = {
  source: matrixSource,
  rows: ({ keys }: KeyValueGradientProblem) => keys,
  steps: ({ queries }: KeyValueGradientProblem) => queries,
  step: 'QUERIES',
  extra: () => 0,
  views: ({ q, k, v, dOut }: KeyValueGradientProblem) => [q, k, v, dOut],
} as const
const matrices = subgroupMatrix(keyValueGradientMatrices)

/** dk and dv from dOut, lse and delta [B, H, Tq] (see `queryGradient`), into one buffer, so that they may be packed. */
export const keyValueGradient: KernelSpec<KeyValueGradientProblem> = {
  name: 'attentionKeyValueGradient',
  bindings: [
    { name: 'q', access: 'read', dtype: operandType, offset: 'q' },
    { name: 'k', access: 'read', dtype: operandType, offset: 'k' },
    { name: 'v', access: 'read', dtype: operandType, offset: 'v' },
    { name: 'dOut', access: 'read', dtype: operandType, offset: 'dOut' },
    { name: 'lse', access: 'read', dtype: 'f32' },
    { name: 'delta', access: 'read', dtype: 'f32' },
    { name: 'dkv', access: 'read_write', dtype: operandType },
  ],
  params: attentionParams(7, 'q', 'k', 'v', 'dOut', 'dk', 'dv'),
  variants: [
    ...rowVariants<KeyValueGradientProblem>({
      rows: ({ keys }) => keys,
      steps: ({ queries }) => queries,
      direct,
      directStep: 1,
      directConstants: ({ queries }) => ({ MANY: queries > 1 }),
      subgroup,
      quad,
      tiled,
    }),
    matrices,
  ],
  choose(device, problem) {
    if (problem.queries > 1 && takesMatrices(device, problem, matrices, problem.keys)) return matrices.name
    // The subgroup variant takes 8 queries a step, `direct` one.
    return chooseVariant(device, problem, problem.keys <= 4 || problem.queries === 1)
  },
  flops: productFlops(4),
  bytes: operandBytes(2, 4),
}
