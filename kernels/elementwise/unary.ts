import { flatConstants, flatGrid } from '../runs.ts'
import { branchStrides, type KernelSpec, SCALAR_BYTES } from '../spec.ts'
import unarySource from './unary.wgsl'
import unaryBackwardSource from './unaryBackward.wgsl'

/** Functions of one operand, by their number in unary.wgsl. */
export const UNARY = { neg: 0, exp: 1, log: 2, sqrt: 3, tanh: 4, relu: 5, gelu: 6, sigmoid: 7 } as const

export type UnaryOp = keyof typeof UNARY

/** Of `count` elements in a row. */
export interface Unary {
  op: UnaryOp
  count: number
}

function makeUnary(name: string, dtype: 'f32' | 'f16'): KernelSpec<Unary> {
  return {
    name,
    bindings: [
      { name: 'x', access: 'read', dtype },
      { name: 'y', access: 'read_write', dtype },
    ],
    params: [branchStrides(2), { name: 'count', type: 'u32' }],
    variants: [
      {
        name: 'flat',
        source: unarySource,
        constants: ({ op, count }, device) => ({ Stored: dtype, OP: UNARY[op], ...flatConstants({ count }, device) }),
        grid: flatGrid,
      },
    ],
    flops: ({ count }) => count,
    bytes: ({ count }) => 2 * SCALAR_BYTES[dtype] * count,
  }
}

/** y = f(x), float32. `gelu` is the exact (erf) form. */
export const unary = makeUnary('unary', 'f32')
/** y = f(x), float16, computed in float32. */
export const unaryHalf = makeUnary('unaryHalf', 'f16')

/** Functions whose derivative is computed from x; of the others it follows from y. */
export const SAVES_INPUT: ReadonlySet<UnaryOp> = new Set<UnaryOp>(['log', 'gelu'])

function makeUnaryBackward(name: string, dtype: 'f32' | 'f16'): KernelSpec<Unary> {
  return {
    name,
    bindings: [
      { name: 'grad', access: 'read', dtype },
      { name: 'saved', access: 'read', dtype },
      { name: 'out', access: 'read_write', dtype },
    ],
    params: [branchStrides(3), { name: 'count', type: 'u32' }],
    variants: [
      {
        name: 'flat',
        source: unaryBackwardSource,
        supports: (_, { op }) => op !== 'neg',
        constants: ({ op, count }, device) => ({ Stored: dtype, OP: UNARY[op], ...flatConstants({ count }, device) }),
        grid: flatGrid,
      },
    ],
    flops: ({ count }) => count,
    bytes: ({ count }) => 3 * SCALAR_BYTES[dtype] * count,
  }
}

/** out = grad f'(x), float32, from x or y as `SAVES_INPUT` says. `neg` has none: its backward is itself. */
export const unaryBackward = makeUnaryBackward('unaryBackward', 'f32')
/** out = grad f'(x), float16, computed in float32. */
export const unaryBackwardHalf = makeUnaryBackward('unaryBackwardHalf', 'f16')
