import { type Layout, type NestProblem, nest } from '../layout.ts'
import { stridedVariant } from '../runs.ts'
import { branchStrides, type KernelSpec, SCALAR_BYTES, writes } from '../spec.ts'
import powSource from './pow.wgsl'
import powBackwardSource from './powBackward.wgsl'

/** The stored type; powers are computed in float32. */
type Stored = 'f32' | 'f16'

export interface Pow extends NestProblem {
  dtype: Stored
}

const stored = ({ dtype }: Pow): Stored => dtype
const operands = nest('a', 'b')

export function powProblem(dtype: Stored, a: Layout, b: Layout): Pow {
  return Object.assign(operands.problem(a, b), { dtype })
}

/** out = a ^ b over a shape, as in NumPy: 0 ^ 0 is 1, and a negative base gives NaN unless the exponent is a whole number. */
export const pow: KernelSpec<Pow> = {
  name: 'pow',
  bindings: [
    { name: 'a', access: 'read', dtype: stored, offset: 'aOffset' },
    { name: 'b', access: 'read', dtype: stored, offset: 'bOffset' },
    ...writes(stored, 'out'),
  ],
  params: [branchStrides(3), ...operands.params],
  variants: [stridedVariant<Pow>(powSource, ({ dtype }) => ({ Stored: dtype }))],
  flops: ({ rows, inner }) => rows * inner,
  bytes: ({ rows, inner, dtype }) => 3 * SCALAR_BYTES[dtype] * rows * inner,
}

export interface PowBackward extends Pow {
  /** Whether the derivative is by the exponent b, not by the base a. */
  exponent: boolean
}

const backwardOperands = nest('grad', 'a', 'b')

export function powBackwardProblem(
  what: Pick<PowBackward, 'dtype' | 'exponent'>,
  ...layouts: [grad: Layout, a: Layout, b: Layout]
): PowBackward {
  return Object.assign(backwardOperands.problem(...layouts), what)
}

/** out = grad b a^(b - 1), 0 where b is 0. By the exponent it is grad a^b ln a, 0 where a <= 0. */
export const powBackward: KernelSpec<PowBackward> = {
  name: 'powBackward',
  bindings: [
    { name: 'grad', access: 'read', dtype: stored, offset: 'gradOffset' },
    { name: 'a', access: 'read', dtype: stored, offset: 'aOffset' },
    { name: 'b', access: 'read', dtype: stored, offset: 'bOffset' },
    ...writes(stored, 'out'),
  ],
  params: [branchStrides(4), ...backwardOperands.params],
  variants: [stridedVariant<PowBackward>(powBackwardSource, ({ dtype, exponent }) => ({ Stored: dtype, EXPONENT: exponent }))],
  flops: ({ rows, inner }) => rows * inner,
  bytes: ({ rows, inner, dtype }) => 4 * SCALAR_BYTES[dtype] * rows * inner,
}
