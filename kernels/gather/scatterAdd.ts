import { type KernelSpec, reads, type Variant, writes } from '../spec.ts'
import { elementGrid, type Gather, gatherParams, rowWidth } from './gather.ts'
import scatterAddSource from './scatterAdd.wgsl'
import scatterAddSortedSource from './scatterAddSorted.wgsl'

function direct(source: string): Variant<Gather> {
  return {
    name: 'direct',
    source,
    constants: (problem) => rowWidth(problem, 'f32'),
    grid: ({ rows, width }, constants) => elementGrid(rows * width, constants),
  }
}

/** The gradient of `gather`: row r of output [rows, width] is the sum of the rows k of input [count, width] with indices[k] = r. */
export const scatterAdd: KernelSpec<Gather> = {
  name: 'scatterAdd',
  bindings: [...reads('f32', 'input'), ...reads('i32', 'indices'), ...writes('f32', 'output')],
  params: gatherParams,
  variants: [direct(scatterAddSource)],
  flops: ({ count, width }) => count * width,
  bytes: ({ count, rows, width }) => 4 * (count * (width + 1) + rows * width),
}

/**
 * The same as `scatterAdd`, from the stable order of the indices, `order` [count], and from `starts` [rows + 1] of `rowStarts`. It is for
 * problems in which it costs too much that every output looks at every index.
 */
export const scatterAddSorted: KernelSpec<Gather> = {
  name: 'scatterAddSorted',
  bindings: [...reads('f32', 'input'), ...reads('u32', 'order', 'starts'), ...writes('f32', 'output')],
  params: gatherParams,
  variants: [direct(scatterAddSortedSource)],
  flops: ({ count, width }) => count * width,
  bytes: ({ count, rows, width }) => 4 * (count * (width + 1) + rows * (width + 1)),
}

/** Whether it costs less to sort the indices first than to look at all of them for every output. */
export function prefersSorted({ count, rows, width }: Gather): boolean {
  const outputs = rows * (width % 4 === 0 ? width / 4 : width)
  return count > 64 && count * outputs > 1 << 17
}
