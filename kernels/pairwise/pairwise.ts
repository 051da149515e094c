import { type Layout, type NestProblem, nest } from '../layout.ts'
import { countVariant, nestVariants } from '../runs.ts'
import { branchStrides, type Constants, type KernelSpec, reads, SCALAR_BYTES, type Scalar, scalars, writes } from '../spec.ts'
import backwardFlat from './backwardFlat.wgsl'
import backwardStrided from './backwardStrided.wgsl'
import backwardVector from './backwardVector.wgsl'
import flat from './flat.wgsl'
import number from './number.wgsl'
import strided from './strided.wgsl'
import vector from './vector.wgsl'

/** Functions of two operands, by their numbers in the WGSL. */
export const PAIRWISE = { minimum: 0, maximum: 1, atan2: 2, remainder: 3 } as const

export type PairwiseOp = keyof typeof PAIRWISE

/** The stored type of operands; floats are computed in float32. `atan2` takes floats alone. */
export type PairwiseType = 'f32' | 'f16' | 'i32'

interface Typed {
  op: PairwiseOp
  dtype: PairwiseType
}

export interface Pairwise extends NestProblem, Typed {}

const stored = ({ dtype }: Typed): Scalar => dtype
const operands = nest('a', 'b')

/** The problem of `pairwise`, whose `out` is a row-major tensor of the shape of a and b. */
export function pairwiseProblem(op: PairwiseOp, dtype: PairwiseType, a: Layout, b: Layout): Pairwise {
  return Object.assign(operands.problem(a, b), { op, dtype })
}

/** The constants of the kernels that compute functions from the bits of their operands. */
function constantsOf({ op, dtype }: Typed): Constants {
  return { Stored: dtype, Scalar: dtype === 'i32' ? 'i32' : 'f32', FLOAT: dtype !== 'i32', OP: PAIRWISE[op] }
}

/**
 * out = f(a, b). `minimum` and `maximum` of a NaN are NaN; `atan2` is the angle of the point (b, a); `remainder` has the sign of b, and is
 * NaN for b = 0, of int32 0.
 */
export const pairwise: KernelSpec<Pairwise> = {
  name: 'pairwise',
  bindings: [
    { name: 'a', access: 'read', dtype: stored, offset: 'aOffset' },
    { name: 'b', access: 'read', dtype: stored, offset: 'bOffset' },
    ...writes(stored, 'out'),
  ],
  params: [branchStrides(3), ...operands.params],
  variants: nestVariants<Pairwise>({ flat, vector, strided }, ['a', 'b'], constantsOf),
  flops: ({ rows, inner }) => rows * inner,
  bytes: ({ rows, inner, dtype }) => 3 * SCALAR_BYTES[dtype] * rows * inner,
}

/** A function of `count` neighbouring elements and one number. */
export interface PairwiseNumber extends Typed {
  count: number
  /** The bits of the number, as float32 or int32. */
  number: number
  /** Whether the number is the first operand. */
  swapped: boolean
}

/** out [count] = f(x [count], number), or f(number, x). */
export const pairwiseNumber: KernelSpec<PairwiseNumber> = {
  name: 'pairwiseNumber',
  bindings: [...reads(stored, 'x'), ...writes(stored, 'out')],
  params: [branchStrides(2), ...scalars('u32', 'count', 'number')],
  variants: [countVariant(number, (problem) => ({ ...constantsOf(problem), SWAPPED: problem.swapped }))],
  shapeClass: ({ count }) => [count],
  flops: ({ count }) => count,
  bytes: ({ count, dtype }) => 2 * SCALAR_BYTES[dtype] * count,
}

export interface PairwiseBackward extends Pairwise {
  dtype: 'f32' | 'f16'
  /** Whether the derivative is by b, not by a. */
  other: boolean
}

const backwardOperands = nest('grad', 'a', 'b')

export function pairwiseBackwardProblem(
  { op, dtype, other }: Pick<PairwiseBackward, 'op' | 'dtype' | 'other'>,
  ...layouts: [grad: Layout, a: Layout, b: Layout]
): PairwiseBackward {
  return Object.assign(backwardOperands.problem(...layouts), { op, dtype, other })
}

/** out = grad df(a, b)/da, or by b. At a tie of `minimum` and `maximum` each operand gets half, as in PyTorch. */
export const pairwiseBackward: KernelSpec<PairwiseBackward> = {
  name: 'pairwiseBackward',
  bindings: [
    { name: 'grad', access: 'read', dtype: stored, offset: 'gradOffset' },
    { name: 'a', access: 'read', dtype: stored, offset: 'aOffset' },
    { name: 'b', access: 'read', dtype: stored, offset: 'bOffset' },
    ...writes(stored, 'out'),
  ],
  params: [branchStrides(4), ...backwardOperands.params],
  variants: nestVariants(
    { flat: backwardFlat, vector: backwardVector, strided: backwardStrided },
    ['grad', 'a', 'b'],
    ({ op, dtype, other }) => ({ Stored: dtype, OP: PAIRWISE[op], OTHER: other }),
  ),
  flops: ({ rows, inner }) => 4 * rows * inner,
  bytes: ({ rows, inner, dtype }) => 4 * SCALAR_BYTES[dtype] * rows * inner,
}
