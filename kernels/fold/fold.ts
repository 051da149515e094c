import type { AxisView } from '../axisView.ts'
import { outputs, type Reduction, reductionParams, splitChunk, vec4Rows } from '../reduce/reduction.ts'
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

/** The bits of `flags`: results are the states of pieces; the root of a variance is taken; a variance has no divisor. */
export const FOLD_FLAGS = { partial: 1, root: 2, degenerate: 4 } as const

/** An input of a reduction and its result. */
export interface FoldResult {
  op: FoldOp
  /** The element type of the input. */
  dtype: Scalar
  /** The factor of the sum of squared deviations. */
  scale: number
  /** A sum of FOLD_FLAGS. */
  flags: number
}

export interface Fold extends Reduction, FoldResult {}

/** The type of results: truth values and products of integers are integers. */
export function foldScalar({ op, dtype }: Pick<FoldResult, 'op' | 'dtype'>): 'f32' | 'i32' {
  return op === 'any' || op === 'all' || dtype === 'i32' ? 'i32' : 'f32'
}

/** Whether a gradient needs more than the result, which `extras` holds. */
export function hasExtras({ op }: Pick<FoldResult, 'op'>): boolean {
  return op === 'moments' || op === 'prod'
}

function resultConstants(problem: FoldResult): Constants {
  return { Scalar: foldScalar(problem), OP: FOLDS[problem.op] }
}

function foldConstants(problem: Fold): Constants {
  const integer = problem.dtype === 'i32'
  return { ...resultConstants(problem), Input: problem.dtype, Wide: integer ? 'i32' : 'f32', FLOAT: !integer }
}

/** The most elements that a thread reduces, 48 blocks of 32, and the most pieces that one merges. */
const [MOST_ELEMENTS, MOST_PIECES] = [48 * 32, 48]

export { MOST_PIECES }

/** The elements of a piece of a line, few enough for rounding to stay small, and as many pieces as keep the device busy. */
export function foldChunk(device: Capabilities, r: Reduction): number {
  const threads = variantOf(device, r) === 'workgroup' ? 256 / columnsOf(r) : 1
  return Math.min(splitChunk(device, r), threads * MOST_ELEMENTS)
}

/** The neighbouring outputs that a workgroup takes, where they lie side by side. */
function columnsOf({ nStride, inner }: Reduction): number {
  return nStride === 1 || inner === 1 ? 1 : 32
}

function variantOf(device: Capabilities, r: Reduction): string {
  const threads = r.inner >= 32 && r.innerStride === 1 && outputs(r) >= 65536
  return device.software || threads || r.chunk < 16 || device.maxInvocations < 256 ? 'direct' : 'workgroup'
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
  params: [...reductionParams, ...scalars('u32', 'flags'), ...scalars('f32', 'scale')],
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
        const columns = columnsOf(problem)
        const element = vec4Rows(problem) ? { VEC: 4, Element: 'vec4<Input>' } : {}
        return { ...foldConstants(problem), ...element, COLUMNS: columns, LANES: 256 / columns }
      },
      grid: ({ outer, chunks, inner }, { COLUMNS }) => grid1d(outer * chunks * ceilDiv(inner, Number(COLUMNS))),
    },
  ],
  choose: variantOf,
  shapeClass: (r) => [r.outer, r.n, r.inner, r.chunk, r.chunks, r.outerStride, r.nStride, r.innerStride],
  flops: ({ outer, n, inner }) => 2 * outer * n * inner,
  bytes: (problem) => 4 * (problem.outer * problem.n * problem.inner + outputs(problem)),
}

export interface FoldCombine extends FoldResult, Pick<Reduction, 'outer' | 'n' | 'inner' | 'chunk' | 'chunks'> {
  /** The neighbouring pieces that one thread merges. */
  group: number
}

/** A further pass of a reduction in pieces: the states [outer, chunks, inner] of each `group` neighbours as one, or as the results. */
export const foldCombine: KernelSpec<FoldCombine> = {
  name: 'foldCombine',
  bindings: [...reads(foldScalar, 'pieceValues', 'pieceExtras'), ...writes(foldScalar, 'values', 'extras')],
  params: [...scalars('u32', 'outer', 'n', 'inner', 'chunk', 'chunks', 'group', 'flags'), ...scalars('f32', 'scale')],
  variants: [
    {
      name: 'direct',
      source: combineSource,
      constants: resultConstants,
      grid: ({ outer, chunks, group, inner }) => grid1d(ceilDiv(outer * ceilDiv(chunks, group) * inner, 64)),
    },
  ],
  flops: ({ outer, chunks, inner }) => 4 * outer * chunks * inner,
  bytes: ({ outer, chunks, inner }) => 8 * outer * inner * (chunks + 1),
}

export interface FoldBackward extends AxisView {
  op: Exclude<FoldOp, 'any' | 'all'>
  /** The factor of a gradient of a variance. */
  scale: number
  /** 1 where the root of a variance was taken, else 0. */
  root: number
}

/** dx [outer, n, inner] from the gradient [outer, inner] of a reduction's results, and from what it saved. */
export const foldBackward: KernelSpec<FoldBackward> = {
  name: 'foldBackward',
  bindings: [...reads('f32', 'x', 'values', 'extras', 'grad'), ...writes('f32', 'dx')],
  params: [...scalars('u32', 'outer', 'n', 'inner', 'root'), ...scalars('f32', 'scale')],
  variants: [
    {
      name: 'direct',
      source: backwardSource,
      constants: ({ op }) => ({ OP: FOLDS[op] }),
      grid: ({ outer, n, inner }) => grid1d(ceilDiv(outer * n * inner, 64)),
    },
  ],
  flops: ({ outer, n, inner }) => 4 * outer * n * inner,
  bytes: ({ outer, n, inner }) => 8 * outer * n * inner,
}
