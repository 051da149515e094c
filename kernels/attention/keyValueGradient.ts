import { type KernelSpec, reads, writes } from '../spec.ts'
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
  operands,
  operandType,
  productFlops,
  type RowView,
  rowVariants,
} from './variants.ts'

/** The operands of the gradients of keys and values, as views of the buffers at the bindings of the same names; dk and dv are both in dkv. */
export interface KeyValueGradientProblem extends AttentionShape {
  q: RowView
  k: RowView
  v: RowView
  dOut: RowView
  dk: RowView
  dv: RowView
}

/** The variant for tensor cores. */
export const keyValueGradientMatrices = {
  source: matrixSource,
  rows: ({ keys }: KeyValueGradientProblem) => keys,
  steps: ({ queries }: KeyValueGradientProblem) => queries,
  step: 'QUERIES',
  extra: () => 0,
  views: ({ q, k, v, dOut }: KeyValueGradientProblem) => [q, k, v, dOut],
} as const
const matrices = subgroupMatrix(keyValueGradientMatrices)

/**
 * dk and dv [B, H, Tk, Dh], the gradients of keys and values, from q and dOut [B, H, Tq, Dh], k and v [B, H, Tk, Dh], and from lse and
 * delta [B, H, Tq] of `attention` and `queryGradient` (FlashAttention, 2205.14135). Both go into one buffer, so they may be packed.
 */
export const keyValueGradient: KernelSpec<KeyValueGradientProblem> = {
  name: 'attentionKeyValueGradient',
  bindings: [...operands('read', 'q', 'k', 'v', 'dOut'), ...reads('f32', 'lse', 'delta'), ...writes(operandType, 'dkv')],
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
