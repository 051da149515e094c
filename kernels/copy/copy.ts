import { hasVectorRows, isFlat, type Layout, type NestProblem, nestParams, nestProblem } from '../layout.ts'
import { stridedVariant, vectorVariant } from '../runs.ts'
import type { KernelSpec } from '../spec.ts'
import strided from './strided.wgsl'
import vector from './vector.wgsl'

export type Copy = NestProblem<'source' | 'target'>

/**
 * Problem of `copy`: the elements of `source`, as a tensor of this shape, into those of `target`.
 * @param shape no dim of 0
 */
export function copyProblem(shape: readonly number[], source: Layout, target: Layout): Copy {
  return nestProblem(shape, { source, target })
}

/** Moves 4-byte elements of any type between any strides; what `out` holds elsewhere stays. */
export const copy: KernelSpec<Copy> = {
  name: 'copy',
  bindings: [
    { name: 'source', access: 'read', dtype: 'u32' },
    { name: 'out', access: 'read_write', dtype: 'u32' },
  ],
  params: nestParams('source', 'target'),
  variants: [
    {
      ...vectorVariant<'source' | 'target', Copy>(vector, ['source'], () => ({})),
      // Writing a vec4 needs a target that runs along the row.
      supports: (_, problem) => problem.walks.target.step === 1 && (isFlat(problem) || hasVectorRows(problem)),
    },
    stridedVariant(strided, () => ({})),
  ],
  flops: () => 0,
  bytes: ({ rows, inner }) => 8 * rows * inner,
}
