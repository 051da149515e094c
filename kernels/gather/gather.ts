import type { KernelSpec, Param } from '../spec.ts'
import { ceilDiv, grid1d } from '../spec.ts'
import gatherSource from './gather.wgsl'

/** `count` indices into the rows of [rows, width]. */
export interface Gather {
  count: number
  rows: number
  width: number
}

export const gatherParams: readonly Param[] = [
  { name: 'count', type: 'u32' },
  { name: 'rows', type: 'u32' },
  { name: 'width', type: 'u32' },
]

/** Rows of weight [rows, width] by int32 indices [count]: output [count, width]; NaN where an index lies outside. */
export const gather: KernelSpec<Gather> = {
  name: 'gather',
  bindings: [
    { name: 'weight', access: 'read', dtype: 'f32' },
    { name: 'indices', access: 'read', dtype: 'i32' },
    { name: 'output', access: 'read_write', dtype: 'f32' },
  ],
  params: gatherParams,
  variants: [
    {
      name: 'direct',
      source: gatherSource,
      constants: ({ width }) => (width % 4 === 0 ? { Value: 'vec4<u32>', WIDTH: 4 } : { Value: 'u32', WIDTH: 1 }),
      grid: ({ count, width }, { WIDTH }) => grid1d(ceilDiv((count * width) / Number(WIDTH), 64)),
    },
  ],
  flops: () => 0,
  bytes: ({ count, width }) => 4 * count * (2 * width + 1),
}
