import { type Layout, type NestProblem, nest } from '../layout.ts'
import { countVariant, nestVariants } from '../runs.ts'
import { branchStrides, type Constants, type KernelSpec, reads, SCALAR_BYTES, type Scalar, scalars, writes } from '../spec.ts'
import flat from './flat.wgsl'
import number from './number.wgsl'
import strided from './strided.wgsl'
import vector from './vector.wgsl'

/** Relations of two operands, by their numbers in the WGSL. For `and` and `or` what is not 0 is true, NaN too. */
export const RELATIONS = { eq: 0, ne: 1, lt: 2, le: 3, gt: 4, ge: 5, and: 6, or: 7 } as const
/** Relations of an operand and a number, and questions about one operand. */
export const QUESTIONS = { eq: 0, ne: 1, lt: 2, le: 3, gt: 4, ge: 5, isNaN: 8, isFinite: 9 } as const

export type Relation = keyof typeof RELATIONS
export type Question = keyof typeof QUESTIONS

/** The stored type of operands. They are compared by their bits, so that every driver has the same answer. */
export type ComparedType = 'f32' | 'f16' | 'i32'

export interface Compare extends NestProblem {
  op: Relation
  dtype: ComparedType
}

const stored = ({ dtype }: { dtype: ComparedType }): Scalar => dtype
const operands = nest('a', 'b')

/** The problem of `compare`, whose `out` is a row-major tensor of the shape of a and b. */
export function compareProblem(op: Relation, dtype: ComparedType, a: Layout, b: Layout): Compare {
  return Object.assign(operands.problem(a, b), { op, dtype })
}

function constantsOf(dtype: ComparedType, op: number): Constants {
  return { Stored: dtype, Scalar: dtype === 'i32' ? 'i32' : 'f32', FLOAT: dtype !== 'i32', OP: op }
}

/** out = a op b as int32, 1 where it holds and 0 where not. NaN equals nothing. */
export const compare: KernelSpec<Compare> = {
  name: 'compare',
  bindings: [
    { name: 'a', access: 'read', dtype: stored, offset: 'aOffset' },
    { name: 'b', access: 'read', dtype: stored, offset: 'bOffset' },
    ...writes('i32', 'out'),
  ],
  params: [branchStrides(3), ...operands.params],
  variants: nestVariants({ flat, vector, strided }, ['a', 'b'], ({ dtype, op }) => constantsOf(dtype, RELATIONS[op])),
  flops: ({ rows, inner }) => rows * inner,
  bytes: ({ rows, inner, dtype }) => (2 * SCALAR_BYTES[dtype] + 4) * rows * inner,
}

/** A question about `count` neighbouring elements. */
export interface CompareNumber {
  op: Question
  count: number
  /** The bits of the number, as float32 or int32; `isNaN` and `isFinite` ignore it. */
  number: number
  dtype: ComparedType
}

/** out [count] = x [count] op number as int32, or whether x is NaN, or finite. */
export const compareNumber: KernelSpec<CompareNumber> = {
  name: 'compareNumber',
  bindings: [...reads(stored, 'x'), ...writes('i32', 'out')],
  params: [branchStrides(2), ...scalars('u32', 'count', 'number')],
  variants: [countVariant(number, ({ dtype, op }) => constantsOf(dtype, QUESTIONS[op]))],
  shapeClass: ({ count }) => [count],
  flops: ({ count }) => count,
  bytes: ({ count, dtype }) => (SCALAR_BYTES[dtype] + 4) * count,
}
