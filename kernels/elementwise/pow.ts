import { type Layout, type NestProblem, nest } from '../layout.ts'
import { stridedVariant } from '../runs.ts'
import { type KernelSpec, reads, writes } from '../spec.ts'
import powSource from './pow.wgsl'
import powBackwardSource from './powBackward.wgsl'

const operands = nest('a', 'b')
export const powProblem = operands.problem

/** out = a ^ b over a shape, as in NumPy: 0 ^ 0 is 1, and a negative base gives NaN unless the exponent is a whole number. */
export const pow: KernelSpec<NestProblem> = {
  name: 'pow',
  bindings: [...reads('f32', 'a', 'b'), ...writes('f32', 'out')],
  params: operands.params,
  variants: [stridedVariant(powSource)],
  flops: ({ rows, inner }) => rows * inner,
  bytes: ({ rows, inner }) => 12 * rows * inner,
}

export interface PowBackward extends NestProblem {
  /** Whether the derivative is by the exponent b, not by the base a. */
  exponent: boolean
}

const backwardOperands = nest('grad', 'a', 'b')

export function powBackwardProblem(exponent: boolean, grad: Layout, a: Layout, b: Layout): PowBackward {
  return Object.assign(backwardOperands.problem(grad, a, b), { exponent })
}

/** out = grad b a^(b - 1), 0 where b is 0. By the exponent it is grad a^b ln a, 0 where a <= 0. */
export const powBackward: KernelSpec<PowBackward> = {
  name: 'powBackward',
  bindings: [...reads('f32', 'grad', 'a', 'b'), ...writes('f32', 'out')],
  params: backwardOperands.params,
  variants: [stridedVariant(powBackwardSource, ({ exponent }) => ({ EXPONENT: exponent }))],
  flops: ({ rows, inner }) => rows * inner,
  bytes: ({ rows, inner }) => 16 * rows * inner,
}
