import { isOneRun, type Layout, type NestProblem, nest } from '../layout.ts'
import { nestVariants } from '../runs.ts'
import { branchStrides, type Constants, type KernelSpec, SCALAR_BYTES, type Scalar, writes } from '../spec.ts'
import flat from './binaryFlat.wgsl'
import strided from './binaryStrided.wgsl'
import vector from './binaryVector.wgsl'

/** Operations on two operands, by their numbers in the WGSL. */
export const BINARY = { add: 0, sub: 1, mul: 2, div: 3 } as const

export type BinaryOp = keyof typeof BINARY

export interface Binary extends NestProblem {
  op: BinaryOp
}

const operands = nest('a', 'b')

/** The problem of `binary`, `binaryHalf` and `binaryInt`, whose `out` is a row-major tensor of the shape of a and b. */
export function binaryProblem(op: BinaryOp, a: Layout, b: Layout): Binary {
  return Object.assign(operands.problem(a, b), { op })
}

function makeBinary(name: string, dtype: Scalar): KernelSpec<Binary> {
  const constants = ({ op }: Binary): Constants => ({ Scalar: dtype, OP: BINARY[op] })
  return {
    name,
    bindings: [
      { name: 'a', access: 'read', dtype, offset: 'aOffset' },
      { name: 'b', access: 'read', dtype, offset: 'bOffset' },
      ...writes(dtype, 'out'),
    ],
    params: [branchStrides(3), ...operands.params],
    variants: nestVariants({ flat, vector, strided }, ['a', 'b'], constants, dtype === 'f16'),
    flops: ({ rows, inner }) => rows * inner,
    bytes: ({ rows, inner }) => 3 * SCALAR_BYTES[dtype] * rows * inner,
  }
}

/** out = a op b, float32. */
export const binary: KernelSpec<Binary> = {
  ...makeBinary('binary', 'f32'),
  chainStep(problem) {
    const { op, inner: count } = problem
    return isOneRun(problem) ? { op, count, a: 0, b: 1, out: 2, number: 0 } : undefined
  },
}
/** out = a op b, float16. */
export const binaryHalf = makeBinary('binaryHalf', 'f16')
/** out = a op b, int32. Products and sums wrap; quotients are cut towards 0. */
export const binaryInt = makeBinary('binaryInt', 'i32')
