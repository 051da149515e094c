import type { Constants, KernelSpec } from '../spec.ts'
import { ceilDiv, type Grid, grid1d } from '../spec.ts'
import { type Gather, gatherParams } from './gather.ts'
import scatterAddSource from './scatterAdd.wgsl'
import scatterAddSortedSource from './scatterAddSorted.wgsl'
import sortIndicesSource from './sortIndices.wgsl'

function constants({ width }: Gather): Constants {
  return width % 4 === 0 ? { Value: 'vec4<f32>', WIDTH: 4 } : { Value: 'f32', WIDTH: 1 }
}

function grid({ rows, width }: Gather, { WIDTH }: Constants): Grid {
  return grid1d(ceilDiv((rows * width) / Number(WIDTH), 64))
}

/** The gradient of `gather`: output [rows, width] sums the rows of input [count, width] by index; indices outside are skipped. */
export const scatterAdd: KernelSpec<Gather> = {
  name: 'scatterAdd',
  bindings: [
    { name: 'input', access: 'read', dtype: 'f32' },
    { name: 'indices', access: 'read', dtype: 'i32' },
    { name: 'output', access: 'read_write', dtype: 'f32' },
  ],
  params: gatherParams,
  variants: [{ name: 'direct', source: scatterAddSource, constants, grid }],
  flops: ({ count, width }) => count * width,
  bytes: ({ count, rows, width }) => 4 * (count * (width + 1) + rows * width),
}

/** The stable order of `count` indices, for `scatterAddSorted`. */
export const sortIndices: KernelSpec<{ count: number }> = {
  name: 'sortIndices',
  bindings: [
    { name: 'indices', access: 'read', dtype: 'i32' },
    { name: 'order', access: 'read_write', dtype: 'u32' },
  ],
  params: [{ name: 'count', type: 'u32' }],
  variants: [{ name: 'direct', source: sortIndicesSource, grid: ({ count }) => grid1d(ceilDiv(count, 64)) }],
  flops: ({ count }) => count * count,
  bytes: ({ count }) => 8 * count,
}

/** The same as `scatterAdd`, with the order of the indices given: where every output looking at every index would cost too much. */
export const scatterAddSorted: KernelSpec<Gather> = {
  name: 'scatterAddSorted',
  bindings: [
    { name: 'input', access: 'read', dtype: 'f32' },
    { name: 'indices', access: 'read', dtype: 'i32' },
    { name: 'order', access: 'read', dtype: 'u32' },
    { name: 'output', access: 'read_write', dtype: 'f32' },
  ],
  params: gatherParams,
  variants: [{ name: 'direct', source: scatterAddSortedSource, constants, grid }],
  flops: ({ count, width }) => count * width,
  bytes: ({ count, rows, width }) => 4 * (count * (width + 2) + rows * width),
}

/** Whether sorting the indices first costs less than looking at all of them for every output. */
export function prefersSorted({ count, rows, width }: Gather): boolean {
  return count > 64 && count < rows * (width % 4 === 0 ? width / 4 : width)
}
