import type { AxisView } from '../axisView.ts'
import { outputs, type Reduction, reductionParams, splitChunk } from '../reduce/reduction.ts'
import {
  type Capabilities,
  type Constants,
  ceilDiv,
  grid1d,
  type KernelSpec,
  reads,
  type Scalar,
  scalars,
  writes,
} from '../spec.ts'
import backwardSource from './backward.wgsl'
import combineSource from './combine.wgsl'
import direct from './direct.wgsl'
import workgroup from './workgroup.wgsl'

/** The reductions by the number that stands for them in WGSL. */
export const FOLDS = { norm: 0, moments: 1, logsumexp: 2, prod: 3, any: 4, all: 5 } as const
export type FoldOp = keyof typeof FOLDS

/** What is reduced, and to what. */
export interface FoldResult {
  op: FoldOp
  /** The element type of the input. */
  dtype: Scalar
  /** What the sum of squared deviations is multiplied with. */
  scale: number
  /** Whether a variance is divided by less than one, so that `scale` is not read. */
  degenerate: boolean
  /** Whether the root of a variance is taken. */
  root: boolean
}

export interface Fold extends Reduction, FoldResult {
  /** Whether the results are the states of pieces. */
  partial: boolean
}

/** The type of results: truth values and products of integers are integers. */
export function foldScalar({ op, dtype }: Pick<FoldResult, 'op' | 'dtype'>): 'f32' | 'i32' {
  return op === 'any' || op === 'all' || dtype === 'i32' ? 'i32' : 'f32'
}

/** Whether a gradient needs more than the result, which `extras` holds. */
export function hasExtras({ op }: Pick<FoldResult, 'op'>): boolean {
  return op === 'moments' || op === 'prod'
}

function resultConstants(problem: FoldResult): Constants {
  return {
    Scalar: foldScalar(problem),
    OP: FOLDS[problem.op],
    EXTRA: hasExtras(problem),
    DEGENERATE: problem.degenerate,
    ROOT: problem.root,
  }
}

function foldConstants(problem: Fold): Constants {
  const integer = problem.dtype === 'i32'
  const { dtype: Input, partial: PARTIAL } = problem
  return { ...resultConstants(problem), Input, Wide: integer ? 'i32' : 'f32', FLOAT: !integer, PARTIAL }
}

/** The pieces of a line for a first pass: at most 512, since a thread of the second pass merges those of one line. */
export function foldChunk(device: Capabilities, r: Reduction): number {
  return Math.min(r.n, Math.max(splitChunk(device, r), 4 * ceilDiv(r.n, 4 * 512)))
}

/**
 * values [outer, chunks, inner] = the norms, variances, logarithms of sums of exponentials, products or truth values along the middle axis, and
 * extras what gradients need: the means, or the products of all other elements for elements that are 0.
 */
export const fold: KernelSpec<Fold> = {
  name: 'fold',
  bindings: [
    { name: 'input', access: 'read', dtype: ({ dtype }: Fold) => dtype, offset: 'offset' },
    ...writes(foldScalar, 'values', 'extras'),
  ],
  params: [...reductionParams, ...scalars('f32', 'scale')],
  variants: [
    {
      name: 'direct',
      source: direct,
      constants: (problem, device) => ({ ...foldConstants(problem), WORKGROUP: device.software ? 8 : 64 }),
      grid: (problem, { WORKGROUP }) => grid1d(ceilDiv(outputs(problem), Number(WORKGROUP))),
    },
    {
      name: 'workgroup',
      source: workgroup,
      supports: (device) => device.maxInvocations >= 256,
      constants: (problem) => {
        const columns = problem.nStride === 1 || problem.inner === 1 ? 1 : 32
        return { ...foldConstants(problem), COLUMNS: columns, LANES: 256 / columns }
      },
      grid: ({ outer, chunks, inner }, { COLUMNS }) => grid1d(outer * chunks * ceilDiv(inner, Number(COLUMNS))),
    },
  ],
  choose(device, r) {
    const threads = r.inner >= 32 && r.innerStride === 1 && outputs(r) >= 65536
    return device.software || threads || r.chunk < 16 || device.maxInvocations < 256 ? 'direct' : 'workgroup'
  },
  flops: ({ outer, n, inner }) => 2 * outer * n * inner,
  bytes: (problem) => 4 * (problem.outer * problem.n * problem.inner + outputs(problem)),
}

export interface FoldCombine extends FoldResult, Pick<Reduction, 'outer' | 'n' | 'inner' | 'chunk' | 'chunks'> {}

/** The second pass of a reduction in pieces: the results [outer, inner] of their states [outer, chunks, inner]. */
export const foldCombine: KernelSpec<FoldCombine> = {
  name: 'foldCombine',
  bindings: [...reads(foldScalar, 'pieceValues', 'pieceExtras'), ...writes(foldScalar, 'values', 'extras')],
  params: [...scalars('u32', 'outer', 'n', 'inner', 'chunk', 'chunks'), ...scalars('f32', 'scale')],
  variants: [
    {
      name: 'direct',
      source: combineSource,
      constants: resultConstants,
      grid: ({ outer, inner }) => grid1d(ceilDiv(outer * inner, 64)),
    },
  ],
  flops: ({ outer, chunks, inner }) => 4 * outer * chunks * inner,
  bytes: ({ outer, chunks, inner }) => 8 * outer * inner * (chunks + 1),
}

export interface FoldBackward extends AxisView {
  op: Exclude<FoldOp, 'any' | 'all'>
  /** What a gradient of a variance is multiplied with. */
  scale: number
  root: boolean
}

/** dx [outer, n, inner] from the gradient [outer, inner] of a reduction's results, and from what it saved. */
export const foldBackward: KernelSpec<FoldBackward> = {
  name: 'foldBackward',
  bindings: [...reads('f32', 'x', 'values', 'extras', 'grad'), ...writes('f32', 'dx')],
  params: [...scalars('u32', 'outer', 'n', 'inner'), ...scalars('f32', 'scale')],
  variants: [
    {
      name: 'direct',
      source: backwardSource,
      constants: ({ op, root }) => ({ OP: FOLDS[op], ROOT: root }),
      grid: ({ outer, n, inner }) => grid1d(ceilDiv(outer * n * inner, 64)),
    },
  ],
  flops: ({ outer, n, inner }) => 4 * outer * n * inner,
  bytes: ({ outer, n, inner }) => 8 * outer * n * inner,
}
