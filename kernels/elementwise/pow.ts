import { type Layout, type NestProblem, nest } from '../layout.ts'
import { stridedVariant } from '../runs.ts'
import type { KernelSpec } from '../spec.ts'
import powSource from './pow.wgsl'
import powBackwardSource from './powBackward.wgsl'

export type Pow = NestProblem

const operands = nest('a', 'b')

export function powProblem(shape: readonly number[], a: Layout, b: Layout): Pow {
  return operands.problem(shape, [a, b])
}

/** out = a ^ b as NumPy has it: 0 ^ 0 is 1, negative bases take whole exponents (else NaN). */
export const pow: KernelSpec<Pow> = {
  name: 'pow',
  bindings: [
    { name: 'a', access: 'read', dtype: 'f32' },
    { name: 'b', access: 'read', dtype: 'f32' },
    { name: 'out', access: 'read_write', dtype: 'f32' },
  ],
  params: operands.params,
  variants: [stridedVariant(powSource, () => ({}))],
  flops: ({ rows, inner }) => rows * inner,
  bytes: ({ rows, inner }) => 12 * rows * inner,
}

export interface PowBackward extends NestProblem {
  /** The derivative by the exponent b, not by the base a. */
  exponent: boolean
}

const backwardOperands = nest('grad', 'a', 'b')

export function powBackwardProblem(
  exponent: boolean,
  shape: readonly number[],
  grad: Layout,
  a: Layout,
  b: Layout,
): PowBackward {
  return Object.assign(backwardOperands.problem(shape, [grad, a, b]), { exponent })
}

/** out = grad b a^(b - 1), 0 where b is 0; or by the exponent grad a^b ln a, 0 where a <= 0. */
export const powBackward: KernelSpec<PowBackward> = {
  name: 'powBackward',
  bindings: [
    { name: 'grad', access: 'read', dtype: 'f32' },
    { name: 'a', access: 'read', dtype: 'f32' },
    { name: 'b', access: 'read', dtype: 'f32' },
    { name: 'out', access: 'read_write', dtype: 'f32' },
  ],
  params: backwardOperands.params,
  variants: [stridedVariant(powBackwardSource, ({ exponent }) => ({ EXPONENT: exponent }))],
  flops: ({ rows, inner }) => rows * inner,
  bytes: ({ rows, inner }) => 16 * rows * inner,
}
