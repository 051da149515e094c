import { type Layout, type NestProblem, nest } from '../layout.ts'
import { stridedVariant, vectorVariant } from '../runs.ts'
import { branchStrides, type KernelSpec } from '../spec.ts'
import accumulateStrided from './accumulateStrided.wgsl'
import accumulateVector from './accumulateVector.wgsl'

export type Accumulate = NestProblem

const operands = nest('x')

export function accumulateProblem(shape: readonly number[], x: Layout): Accumulate {
  return operands.problem(shape, [x])
}

/** out += x, float32, out row-major. */
export const accumulate: KernelSpec<Accumulate> = {
  name: 'accumulate',
  bindings: [
    { name: 'x', access: 'read', dtype: 'f32', offset: 'xOffset' },
    { name: 'out', access: 'read_write', dtype: 'f32' },
  ],
  params: [branchStrides(2), ...operands.params],
  variants: [vectorVariant(accumulateVector, ['x'], () => ({})), stridedVariant(accumulateStrided, () => ({}))],
  flops: ({ rows, inner }) => rows * inner,
  bytes: ({ rows, inner }) => 12 * rows * inner,
}
