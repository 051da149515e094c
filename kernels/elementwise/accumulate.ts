import { isOneRun, type NestProblem, nest } from '../layout.ts'
import { nestVariants } from '../runs.ts'
import { branchStrides, type KernelSpec, SCALAR_BYTES, writes } from '../spec.ts'
import flat from './accumulateFlat.wgsl'
import strided from './accumulateStrided.wgsl'
import vector from './accumulateVector.wgsl'

const operands = nest('x')
export const accumulateProblem = operands.problem

function makeAccumulate(name: string, dtype: 'f32' | 'f16'): KernelSpec<NestProblem> {
  return {
    name,
    bindings: [{ name: 'x', access: 'read', dtype, offset: 'xOffset' }, ...writes(dtype, 'out')],
    params: [branchStrides(2), ...operands.params],
    variants: nestVariants({ flat, vector, strided }, ['x'], () => ({ Scalar: dtype }), dtype === 'f16'),
    flops: ({ rows, inner }) => rows * inner,
    bytes: ({ rows, inner }) => 3 * SCALAR_BYTES[dtype] * rows * inner,
  }
}

/** out += x over a shape, float32; out is row-major. */
export const accumulate: KernelSpec<NestProblem> = {
  ...makeAccumulate('accumulate', 'f32'),
  chainStep: (problem) => (isOneRun(problem) ? { op: 'add', count: problem.inner, a: 1, b: 0, out: 1, number: 0 } : undefined),
}
/** out += x over a shape, float16; out is row-major. */
export const accumulateHalf = makeAccumulate('accumulateHalf', 'f16')
