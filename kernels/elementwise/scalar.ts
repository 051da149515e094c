import { countVariant } from '../runs.ts'
import { branchStrides, type KernelSpec, type ParamScalar, reads, SCALAR_BYTES, type Scalar, scalars, writes } from '../spec.ts'
import type { StepOp } from '../step.ts'
import scalarSource from './scalar.wgsl'

/** x + s, x s, x / s, s - x and s / x, by their numbers in scalar.wgsl. */
export const SCALAR = { add: 0, mul: 1, div: 2, subFrom: 3, divInto: 4 } as const

export type ScalarOp = keyof typeof SCALAR

/** An operation of `count` neighbouring elements and one number. */
export interface WithScalar {
  op: ScalarOp
  count: number
  scalar: number
}

function makeScalar(name: string, dtype: ParamScalar, stored: Scalar = dtype): KernelSpec<WithScalar> {
  return {
    name,
    bindings: [...reads(stored, 'x'), ...writes(stored, 'out')],
    params: [branchStrides(2), ...scalars('u32', 'count'), ...scalars(dtype, 'scalar')],
    variants: [countVariant(scalarSource, ({ op }) => ({ Stored: stored, Scalar: dtype, OP: SCALAR[op] }))],
    flops: ({ count }) => count,
    bytes: ({ count }) => 2 * SCALAR_BYTES[stored] * count,
  }
}

/** By operation, that of a step of a chain, and whether the number comes first. */
const STEPS: Record<ScalarOp, readonly [op: StepOp, first: boolean]> = {
  add: ['add', false],
  mul: ['mul', false],
  div: ['div', false],
  subFrom: ['sub', true],
  divInto: ['div', true],
}

/** out [count] = x [count] op scalar, float32. */
export const scalar: KernelSpec<WithScalar> = {
  ...makeScalar('scalar', 'f32'),
  chainStep({ op: name, count, scalar: number }) {
    const [op, first] = STEPS[name]
    return { op, count, a: first ? 'number' : 0, b: first ? 0 : 'number', out: 1, number }
  },
}
/** out [count] = x [count] op scalar, float16 computed in float32. */
export const scalarHalf = makeScalar('scalarHalf', 'f32', 'f16')
/** out [count] = x [count] op scalar, int32. */
export const scalarInt = makeScalar('scalarInt', 'i32')
