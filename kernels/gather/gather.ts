import { type Constants, ceilDiv, type Grid, grid1d, type KernelSpec, type Param, reads, scalars, writes } from '../spec.ts'
import gatherSource from './gather.wgsl'

/** A problem of `count` indices into the rows of a table [rows, width]. */
export interface Gather {
  count: number
  rows: number
  width: number
}

export const gatherParams: readonly Param[] = scalars('u32', 'count', 'rows', 'width')

/** A thread takes 4 neighbours (`Value` is a vec4) of rows whose width allows it, else one element. */
export function rowWidth({ width }: Gather, element: 'f32' | 'u32'): Constants {
  return width % 4 === 0 ? { Value: `vec4<${element}>`, WIDTH: 4 } : { Value: element, WIDTH: 1 }
}

/** The grid with a thread for each `Value`, which is WIDTH elements. */
export function elementGrid(elements: number, { WIDTH }: Constants): Grid {
  return grid1d(ceilDiv(elements / Number(WIDTH), 64))
}

/** output [count, width] = the rows of weight [rows, width] at the int32 indices [count]; NaN where an index lies outside. */
export const gather: KernelSpec<Gather> = {
  name: 'gather',
  bindings: [...reads('f32', 'weight'), ...reads('i32', 'indices'), ...writes('f32', 'output')],
  params: gatherParams,
  variants: [
    {
      name: 'direct',
      source: gatherSource,
      constants: (problem) => rowWidth(problem, 'u32'),
      grid: ({ count, width }, constants) => elementGrid(count * width, constants),
    },
  ],
  flops: () => 0,
  bytes: ({ count, width }) => 4 * count * (2 * width + 1),
}
