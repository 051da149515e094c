import { flatConstants, flatGrid } from '../runs.ts'
import { branchStrides, type KernelSpec, type ParamScalar, SCALAR_BYTES, type Scalar } from '../spec.ts'
import scalarSource from './scalar.wgsl'

/** x + s, x s, x / s, s - x, s / x, by their number in scalar.wgsl. */
export const SCALAR = { add: 0, mul: 1, div: 2, subFrom: 3, divInto: 4 } as const

export type ScalarOp = keyof typeof SCALAR

/** Of `count` elements in a row and one number. */
export interface WithScalar {
  op: ScalarOp
  count: number
  scalar: number
}

function makeScalar(name: string, dtype: ParamScalar, stored: Scalar = dtype): KernelSpec<WithScalar> {
  return {
    name,
    bindings: [
      { name: 'x', access: 'read', dtype: stored },
      { name: 'out', access: 'read_write', dtype: stored },
    ],
    params: [branchStrides(2), { name: 'count', type: 'u32' }, { name: 'scalar', type: dtype }],
    variants: [
      {
        name: 'flat',
        source: scalarSource,
        constants: (problem, device) => ({
          Stored: stored,
          Scalar: dtype,
          OP: SCALAR[problem.op],
          ...flatConstants(problem, device),
        }),
        grid: flatGrid,
      },
    ],
    flops: ({ count }) => count,
    bytes: ({ count }) => 2 * SCALAR_BYTES[stored] * count,
  }
}

/** out = x op scalar, float32. */
export const scalar = makeScalar('scalar', 'f32')
/** out = x op scalar, float16, computed in float32. */
export const scalarHalf = makeScalar('scalarHalf', 'f32', 'f16')
/** out = x op scalar, int32. */
export const scalarInt = makeScalar('scalarInt', 'i32')
