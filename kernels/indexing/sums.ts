import { type KernelSpec, reads, scalars, writes } from '../spec.ts'
import { type Along, alongParams, indexBinding, indexBytes, perIndex, threadEach } from './along.ts'
import scatterAddIntSource from './scatterAddInt.wgsl'
import scatterLargestSource from './scatterLargest.wgsl'
import scatterSumSource from './scatterSum.wgsl'
import scatterTotalSource from './scatterTotal.wgsl'

/** How far the mantissa of the largest of m addends is shifted in 64 bits, so that no sum of them overflows. */
export function fixedPointShift(m: number): number {
  return 38 - Math.ceil(Math.log2(m + 1))
}

/** largest [outer, n, inner]: the bits of the largest magnitude of the src [outer, m, inner] of each target. They are 0 at first. */
export const scatterLargest: KernelSpec<Along> = {
  name: 'scatterLargest',
  bindings: [...reads('f32', 'src'), indexBinding, ...writes('u32', 'largest')],
  params: alongParams,
  variants: [perIndex(scatterLargestSource)],
  flops: () => 0,
  bytes: indexBytes,
}

export interface ScatterSum extends Along {
  /** Where the point lies: `fixedPointShift(m)`. */
  shift: number
}

/** sums [outer, n, inner, 2]: the sums of src [outer, m, inner] by target, in fixed point. They are 0 at first. */
export const scatterSum: KernelSpec<ScatterSum> = {
  name: 'scatterSum',
  bindings: [...reads('f32', 'src'), indexBinding, ...reads('u32', 'largest'), ...writes('u32', 'sums')],
  params: [...alongParams, ...scalars('u32', 'shift')],
  variants: [perIndex(scatterSumSource)],
  flops: ({ outer, m, inner }) => outer * m * inner,
  bytes: (problem) => indexBytes(problem) + 12 * problem.outer * problem.n * problem.inner,
}

export interface ScatterTotal {
  count: number
  shift: number
  /** Whether x is added. */
  add: boolean
}

/** output [count] = x plus the sums in fixed point, rounded to float32 once. */
export const scatterTotal: KernelSpec<ScatterTotal> = {
  name: 'scatterTotal',
  bindings: [...reads('f32', 'x'), ...reads('u32', 'largest', 'sums'), ...writes('f32', 'output')],
  params: scalars('u32', 'count', 'shift'),
  variants: [
    {
      name: 'direct',
      source: scatterTotalSource,
      constants: ({ add }) => ({ ADD: add }),
      grid: ({ count }) => threadEach(count),
    },
  ],
  flops: ({ count }) => count,
  bytes: ({ count }) => 20 * count,
}

/** sums [outer, n, inner] += src [outer, m, inner] by target, of int32. */
export const scatterAddInt: KernelSpec<Along> = {
  name: 'scatterAddInt',
  bindings: [...reads('i32', 'src'), indexBinding, ...writes('i32', 'sums')],
  params: alongParams,
  variants: [perIndex(scatterAddIntSource)],
  flops: ({ outer, m, inner }) => outer * m * inner,
  bytes: (problem) => indexBytes(problem) + 8 * problem.outer * problem.n * problem.inner,
}
