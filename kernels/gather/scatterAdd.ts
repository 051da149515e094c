import type { Constants, KernelSpec } from '../spec.ts'
import { ceilDiv, type Grid, grid1d } from '../spec.ts'
import { type Gather, gatherParams } from './gather.ts'
import scatterAddSource from './scatterAdd.wgsl'
import scatterAddSortedSource from './scatterAddSorted.wgsl'
import { SORT_BLOCK } from './sort.ts'

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

/** The same as `scatterAdd`, from the order of the indices and `rowStarts`: where every output looking at every index would cost too much. */
export const scatterAddSorted: KernelSpec<Gather> = {
  name: 'scatterAddSorted',
  bindings: [
    { name: 'input', access: 'read', dtype: 'f32' },
    { name: 'order', access: 'read', dtype: 'u32' },
    { name: 'starts', access: 'read', dtype: 'u32' },
    { name: 'output', access: 'read_write', dtype: 'f32' },
  ],
  params: gatherParams,
  variants: [{ name: 'direct', source: scatterAddSortedSource, constants, grid }],
  flops: ({ count, width }) => count * width,
  bytes: ({ count, rows, width }) => 4 * (count * (width + 1) + rows * (width + 1)),
}

/** Whether sorting the indices first costs less than looking at all of them for every output. */
export function prefersSorted({ count, rows, width }: Gather): boolean {
  const outputs = rows * (width % 4 === 0 ? width / 4 : width)
  return count > SORT_BLOCK && count * outputs > 1 << 17
}
