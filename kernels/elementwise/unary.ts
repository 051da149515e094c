import { flatConstants, flatGrid } from '../runs.ts'
import { branchStrides, type KernelSpec } from '../spec.ts'
import unarySource from './unary.wgsl'
import unaryBackwardSource from './unaryBackward.wgsl'

/** Functions of one operand, by their number in unary.wgsl. */
export const UNARY = { neg: 0, exp: 1, log: 2, sqrt: 3, tanh: 4, relu: 5, gelu: 6, sigmoid: 7 } as const

export type UnaryOp = keyof typeof UNARY

/** Of `count` float32 elements in a row. */
export interface Unary {
  op: UnaryOp
  count: number
}

/** y = f(x). `gelu` is the exact (erf) form. */
export const unary: KernelSpec<Unary> = {
  name: 'unary',
  bindings: [
    { name: 'x', access: 'read', dtype: 'f32' },
    { name: 'y', access: 'read_write', dtype: 'f32' },
  ],
  params: [branchStrides(2), { name: 'count', type: 'u32' }],
  variants: [
    {
      name: 'flat',
      source: unarySource,
      constants: (problem, device) => ({ OP: UNARY[problem.op], ...flatConstants(problem, device) }),
      grid: flatGrid,
    },
  ],
  flops: ({ count }) => count,
  bytes: ({ count }) => 8 * count,
}

/** Functions whose derivative is computed from x; of the others it follows from y. */
export const SAVES_INPUT: ReadonlySet<UnaryOp> = new Set<UnaryOp>(['log', 'gelu'])

/** out = grad f'(x), from x or y as `SAVES_INPUT` says. `neg` has none: its backward is itself. */
export const unaryBackward: KernelSpec<Unary> = {
  name: 'unaryBackward',
  bindings: [
    { name: 'grad', access: 'read', dtype: 'f32' },
    { name: 'saved', access: 'read', dtype: 'f32' },
    { name: 'out', access: 'read_write', dtype: 'f32' },
  ],
  params: [branchStrides(3), { name: 'count', type: 'u32' }],
  variants: [
    {
      name: 'flat',
      source: unaryBackwardSource,
      supports: (_, { op }) => op !== 'neg',
      constants: (problem, device) => ({ OP: UNARY[problem.op], ...flatConstants(problem, device) }),
      grid: flatGrid,
    },
  ],
  flops: ({ count }) => count,
  bytes: ({ count }) => 12 * count,
}
