import { countVariant } from '../runs.ts'
import { branchStrides, type KernelSpec, reads, scalars, writes } from '../spec.ts'
import source from './addFour.wgsl'

export interface AddFour {
  count: number
  /** With 3, d is not read. */
  terms: 3 | 4
}

/** out [count] = (a + b) + (c + d), or (a + b) + c, float32: two levels of a tree of sums in one dispatch. */
export const addFour: KernelSpec<AddFour> = {
  name: 'addFour',
  bindings: [...reads('f32', 'a', 'b', 'c', 'd'), ...writes('f32', 'out')],
  params: [branchStrides(5), ...scalars('u32', 'count')],
  variants: [countVariant(source, ({ terms }) => ({ FOUR: terms === 4 }))],
  flops: ({ count, terms }) => (terms - 1) * count,
  bytes: ({ count, terms }) => 4 * (terms + 1) * count,
}
