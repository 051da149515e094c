import { type Layout, type NestProblem, nest } from '../layout.ts'
import { nestVariants } from '../runs.ts'
import { branchStrides, type KernelSpec, SCALAR_BYTES, writes } from '../spec.ts'
import flat from './flat.wgsl'
import strided from './strided.wgsl'
import vector from './vector.wgsl'

export interface Lerp extends NestProblem {
  /** The stored type; the kernel computes in float32. */
  dtype: 'f32' | 'f16'
}

const operands = nest('a', 'b', 'weight')
const stored = ({ dtype }: Lerp) => dtype

export function lerpProblem(dtype: Lerp['dtype'], ...layouts: [a: Layout, b: Layout, weight: Layout]): Lerp {
  return Object.assign(operands.problem(...layouts), { dtype })
}

/** out = a + weight (b - a) over a shape; out is row-major. */
export const lerp: KernelSpec<Lerp> = {
  name: 'lerp',
  bindings: [
    { name: 'a', access: 'read', dtype: stored, offset: 'aOffset' },
    { name: 'b', access: 'read', dtype: stored, offset: 'bOffset' },
    { name: 'weight', access: 'read', dtype: stored, offset: 'weightOffset' },
    ...writes(stored, 'out'),
  ],
  params: [branchStrides(4), ...operands.params],
  variants: nestVariants<Lerp>({ flat, vector, strided }, ['a', 'b', 'weight'], ({ dtype }) => ({ Stored: dtype })),
  flops: ({ rows, inner }) => 3 * rows * inner,
  bytes: ({ rows, inner, dtype }) => 4 * SCALAR_BYTES[dtype] * rows * inner,
}
