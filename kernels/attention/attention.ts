import { type KernelSpec, reads, writes } from '../spec.ts'
import broadcast from './broadcast.wgsl'
import direct from './direct.wgsl'
import keyValueDirect from './keyValueGradientDirect.wgsl'
import keyValueQuad from './keyValueGradientQuad.wgsl'
import keyValueSubgroup from './keyValueGradientSubgroup.wgsl'
import keyValueMatrix from './keyValueGradientSubgroupMatrix.wgsl'
import keyValueTiled from './keyValueGradientTiled.wgsl'
import { maskBinding, optionClass } from './options.ts'
import { fitsOwnedKeys, ownedKeysVariant } from './owned.ts'
import quad from './quad.wgsl'
import queryDirect from './queryGradientDirect.wgsl'
import queryQuad from './queryGradientQuad.wgsl'
import querySubgroup from './queryGradientSubgroup.wgsl'
import queryMatrix from './queryGradientSubgroupMatrix.wgsl'
import queryTiled from './queryGradientTiled.wgsl'
import type { AttentionShape, RowView } from './shape.ts'
import subgroup from './subgroup.wgsl'
import subgroupMatrix from './subgroupMatrix.wgsl'
import tiled from './tiled.wgsl'
import * as variants from './variants.ts'

/** A problem whose named operands are views of the buffers at the bindings of the same names. */
type WithViews<Names extends string> = AttentionShape & { [name in Names]: RowView }
export type AttentionProblem = WithViews<'q' | 'k' | 'v' | 'out'>
export type QueryGradientProblem = WithViews<'q' | 'k' | 'v' | 'out' | 'dOut' | 'dq'>
/** The gradients dk and dv are both in the buffer at the binding `dkv`. */
export type KeyValueGradientProblem = WithViews<'q' | 'k' | 'v' | 'dOut' | 'dk' | 'dv'>

export const attentionRows: variants.RowKernel<AttentionProblem> = {
  rows: ({ queries }) => queries,
  steps: ({ keys }) => keys,
  step: 'KEYS',
  ...{ direct, subgroup, broadcast, quad, tiled, subgroupMatrix },
  directStep: 4,
  // Sums over up to 1,024 keys are not compensated and are at most 4e-6 off; compensation takes 3 to 8 % more time (SwiftShader).
  quadChain: 256,
  // A sum for each thread, and a flag that takes up 16 bytes.
  matrixExtra: (threads) => 4 * threads + 16,
  matrixTiles: [1, 1],
  twoMatrices: true,
  matrixViews: ({ q, k, v }) => [q, k, v],
  views: ({ q, k, v, out }) => [q, k, v, out],
}

/**
 * out [B, H, Tq, Dh] = softmax(q k^T * scale) v, for q [B, H, Tq, Dh] and k and v [B, H, Tk, Dh], without the matrix of scores in memory:
 * FlashAttention (2205.14135) with an online softmax (1805.02867). lse [B, H, Tq] is the logarithm of each row's sum of exponentials.
 */
export const attention: KernelSpec<AttentionProblem> = {
  name: 'attention',
  bindings: [
    ...variants.operands('read', 'q', 'k', 'v'),
    ...variants.operands('read_write', 'out'),
    ...writes('f32', 'lse'),
    maskBinding,
  ],
  params: variants.attentionParams(6, 'q', 'k', 'v', 'out'),
  variants: [...variants.rowVariants(attentionRows), ownedKeysVariant],
  choose(device, problem) {
    // A workgroup of `ownedKeys` loads all keys, which pays with enough queries: 0.5 to 0.9 of the time of `quad` from 17 on.
    if (problem.queries >= 16 && problem.keys >= 16 && fitsOwnedKeys(device, problem)) return 'ownedKeys'
    return variants.chooseVariant(attentionRows, device, problem, problem.queries <= 4)
  },
  shapeClass: optionClass,
  flops: variants.productFlops(2),
  bytes: variants.operandBytes(2, 2),
}

export const queryGradientRows: variants.RowKernel<QueryGradientProblem> = {
  rows: ({ queries }) => queries,
  steps: ({ keys }) => keys,
  step: 'KEYS',
  ...{ direct: queryDirect, subgroup: querySubgroup, quad: queryQuad, tiled: queryTiled, subgroupMatrix: queryMatrix },
  directStep: 4,
  // A sum for each thread.
  matrixExtra: (threads) => 4 * threads,
  matrixTiles: [2, 1],
  matrixViews: ({ q, k, v, dOut }) => [q, k, v, dOut],
  views: ({ q, k, v, out, dOut, dq }) => [q, k, v, out, dOut, dq],
}

/**
 * dq [B, H, Tq, Dh], the gradient of the queries, from q and dOut [B, H, Tq, Dh], k and v [B, H, Tk, Dh], and from out [B, H, Tq, Dh]
 * and lse [B, H, Tq] of `attention` (FlashAttention, 2205.14135). The kernel also writes delta [B, H, Tq], the row sums of dOut * out,
 * which `keyValueGradient` reads, so this kernel runs first.
 */
export const queryGradient: KernelSpec<QueryGradientProblem> = {
  name: 'attentionQueryGradient',
  bindings: [
    ...variants.operands('read', 'q', 'k', 'v', 'out', 'dOut'),
    ...variants.operands('read_write', 'dq'),
    ...writes('f32', 'statistics'),
    maskBinding,
  ],
  params: variants.attentionParams(8, 'q', 'k', 'v', 'out', 'dOut', 'dq'),
  variants: variants.rowVariants(queryGradientRows),
  choose: (device, problem) => variants.chooseVariant(queryGradientRows, device, problem, problem.queries <= 4),
  shapeClass: optionClass,
  flops: variants.productFlops(3),
  bytes: variants.operandBytes(4, 2),
}

export const keyValueGradientRows: variants.RowKernel<KeyValueGradientProblem> = {
  rows: ({ keys }) => keys,
  steps: ({ queries }) => queries,
  step: 'QUERIES',
  ...{ direct: keyValueDirect, subgroup: keyValueSubgroup, quad: keyValueQuad, tiled: keyValueTiled },
  subgroupMatrix: keyValueMatrix,
  directStep: 1,
  directConstants: ({ queries }) => ({ MANY: queries > 1 }),
  tiledConstants: ({ queries }) => (queries % 4 === 0 ? { STATISTICS_FOURS: true, Statistic: 'vec4<f32>' } : {}),
  // Log-sum-exps and deltas of at most 32 queries.
  matrixExtra: () => 256,
  matrixTiles: [2, 2],
  matrixViews: ({ q, k, v, dOut }) => [q, k, v, dOut],
  views: ({ q, k, v, dOut, dk, dv }) => [q, k, v, dOut, dk, dv],
}

/**
 * dk and dv [B, H, Tk, Dh], the gradients of keys and values, from q and dOut [B, H, Tq, Dh], k and v [B, H, Tk, Dh], and from lse and
 * delta [B, H, Tq] of `attention` and `queryGradient` (FlashAttention, 2205.14135). Both go into one buffer, so they may be packed.
 */
export const keyValueGradient: KernelSpec<KeyValueGradientProblem> = {
  name: 'attentionKeyValueGradient',
  bindings: [
    ...variants.operands('read', 'q', 'k', 'v', 'dOut'),
    ...reads('f32', 'lse', 'delta'),
    ...writes(variants.operandType, 'dkv'),
    maskBinding,
  ],
  params: variants.attentionParams(8, 'q', 'k', 'v', 'dOut', 'dk', 'dv'),
  variants: variants.rowVariants(keyValueGradientRows),
  // The subgroup variant takes 8 queries a step, `direct` one.
  choose: (device, problem) =>
    variants.chooseVariant(keyValueGradientRows, device, problem, problem.keys <= 4 || problem.queries === 1),
  shapeClass: optionClass,
  flops: variants.productFlops(4),
  bytes: variants.operandBytes(2, 4),
}
