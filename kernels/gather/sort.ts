import type { KernelSpec } from '../spec.ts'
import { ceilDiv, grid1d } from '../spec.ts'
import mergeOrderSource from './mergeOrder.wgsl'
import rowStartsSource from './rowStarts.wgsl'
import sortBlocksSource from './sortBlocks.wgsl'

/** Indices that `sortBlocks` sorts together: below, comparing all pairs is cheaper than merging. */
export const SORT_BLOCK = 64

/** The stable order of `count` indices within blocks of SORT_BLOCK neighbours; `mergeOrder` makes one order of them. */
export const sortBlocks: KernelSpec<{ count: number }> = {
  name: 'sortBlocks',
  bindings: [
    { name: 'indices', access: 'read', dtype: 'i32' },
    { name: 'order', access: 'read_write', dtype: 'u32' },
  ],
  params: [{ name: 'count', type: 'u32' }],
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

/** An order in sorted runs of `run` places. */
export interface MergeOrder {
  count: number
  run: number
}

/** Makes one run of each two neighbouring ones. */
export const mergeOrder: KernelSpec<MergeOrder> = {
  name: 'mergeOrder',
  bindings: [
    { name: 'indices', access: 'read', dtype: 'i32' },
    { name: 'order', access: 'read', dtype: 'u32' },
    { name: 'merged', access: 'read_write', dtype: 'u32' },
  ],
  params: [
    { name: 'count', type: 'u32' },
    { name: 'run', type: 'u32' },
  ],
  variants: [{ name: 'direct', source: mergeOrderSource, grid: ({ count }) => grid1d(ceilDiv(count, 64)) }],
  flops: ({ count, run }) => count * Math.log2(run),
  bytes: ({ count }) => 12 * count,
}

/** The places of [0, rows) in a sorted order: starts [rows + 1], row r at places `starts[r]` up to, not including, `starts[r + 1]`. */
export const rowStarts: KernelSpec<{ count: number; rows: number }> = {
  name: 'rowStarts',
  bindings: [
    { name: 'indices', access: 'read', dtype: 'i32' },
    { name: 'order', access: 'read', dtype: 'u32' },
    { name: 'starts', access: 'read_write', dtype: 'u32' },
  ],
  params: [
    { name: 'count', type: 'u32' },
    { name: 'rows', type: 'u32' },
  ],
  variants: [{ name: 'direct', source: rowStartsSource, grid: ({ rows }) => grid1d(ceilDiv(rows + 1, 64)) }],
  flops: ({ count, rows }) => rows * Math.log2(count + 1),
  bytes: ({ count, rows }) => 4 * (2 * count + rows),
}
