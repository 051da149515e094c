import { type Layout, type NestProblem, nest } from '../layout.ts'
import { nestVariants } from '../runs.ts'
import { branchStrides, type KernelSpec, SCALAR_BYTES, type Scalar, writes } from '../spec.ts'
import flat from './whereFlat.wgsl'
import strided from './whereStrided.wgsl'
import vector from './whereVector.wgsl'

/** The stored types. What is selected is moved as words, of 4 bytes unless it is float16. */
interface Types {
  condition: Scalar
  dtype: Scalar
}

export interface Where extends NestProblem, Types {}

const operands = nest('condition', 'a', 'b')

export function whereProblem(types: Types, ...layouts: [condition: Layout, a: Layout, b: Layout]): Where {
  return Object.assign(operands.problem(...layouts), types)
}

const wordOf = ({ dtype }: Types): Scalar => (dtype === 'f16' ? 'f16' : 'u32')

/** out = condition ? a : b over a shape. The condition is true unless it is 0; NaN is true too. */
export const where: KernelSpec<Where> = {
  name: 'where',
  bindings: [
    { name: 'condition', access: 'read', dtype: ({ condition }: Types) => condition, offset: 'conditionOffset' },
    { name: 'a', access: 'read', dtype: wordOf, offset: 'aOffset' },
    { name: 'b', access: 'read', dtype: wordOf, offset: 'bOffset' },
    ...writes(wordOf, 'out'),
  ],
  params: [branchStrides(4), ...operands.params],
  variants: nestVariants<Where>({ flat, vector, strided }, ['condition', 'a', 'b'], (problem) => ({
    Condition: problem.condition,
    Word: wordOf(problem),
  })),
  flops: () => 0,
  bytes: (problem) => (SCALAR_BYTES[problem.condition] + 3 * SCALAR_BYTES[problem.dtype]) * problem.rows * problem.inner,
}
