import { ceilDiv, grid1d, type KernelSpec, reads, scalars, writes } from '../spec.ts'
import mergeOrderSource from './mergeOrder.wgsl'
import rowStartsSource from './rowStarts.wgsl'
import sortBlocksSource from './sortBlocks.wgsl'

/** The indices that `sortBlocks` sorts together. In a block of this size comparing all pairs is cheaper than merging. */
export const SORT_BLOCK = 64

/** order [count]: the stable order of indices [count] within blocks of SORT_BLOCK neighbours, which `mergeOrder` makes one order. */
export const sortBlocks: KernelSpec<{ count: number }> = {
  name: 'sortBlocks',
  bindings: [...reads('i32', 'indices'), ...writes('u32', 'order')],
  params: scalars('u32', 'count'),
  variants: [
    {
      name: 'direct',
      source: sortBlocksSource,
      constants: () => ({ BLOCK: SORT_BLOCK }),
      grid: ({ count }) => grid1d(ceilDiv(count, 64)),
    },
  ],
  flops: ({ count }) => SORT_BLOCK * count,
  bytes: ({ count }) => 8 * count,
}

/** An order of `count` indices in sorted runs of `run` places. */
export interface MergeOrder {
  count: number
  run: number
}

/** merged [count]: order [count] with each two neighbouring runs merged into one, both sorted by indices [count]. */
export const mergeOrder: KernelSpec<MergeOrder> = {
  name: 'mergeOrder',
  bindings: [...reads('i32', 'indices'), ...reads('u32', 'order'), ...writes('u32', 'merged')],
  params: scalars('u32', 'count', 'run'),
  variants: [{ name: 'direct', source: mergeOrderSource, grid: ({ count }) => grid1d(ceilDiv(count, 64)) }],
  flops: ({ count, run }) => count * Math.log2(run),
  bytes: ({ count }) => 12 * count,
}

/** starts [rows + 1]: row r has the places from `starts[r]` to `starts[r + 1]` (exclusive) in the order [count] of `mergeOrder`. */
export const rowStarts: KernelSpec<{ count: number; rows: number }> = {
  name: 'rowStarts',
  bindings: [...reads('i32', 'indices'), ...reads('u32', 'order'), ...writes('u32', 'starts')],
  params: scalars('u32', 'count', 'rows'),
  variants: [{ name: 'direct', source: rowStartsSource, grid: ({ rows }) => grid1d(ceilDiv(rows + 1, 64)) }],
  flops: ({ count, rows }) => rows * Math.log2(count + 1),
  bytes: ({ count, rows }) => 4 * (2 * count + rows),
}
