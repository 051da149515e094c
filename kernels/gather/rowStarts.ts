import { ceilDiv, grid1d, type KernelSpec, reads, scalars, writes } from '../spec.ts'
import rowStartsSource from './rowStarts.wgsl'

/** starts [rows + 1]: row r has the places from `starts[r]` to `starts[r + 1]` (exclusive) in the order [count] that sorts indices [count]. */
export const rowStarts: KernelSpec<{ count: number; rows: number }> = {
  name: 'rowStarts',
  bindings: [...reads('i32', 'indices'), ...reads('u32', 'order'), ...writes('u32', 'starts')],
  params: scalars('u32', 'count', 'rows'),
  variants: [{ name: 'direct', source: rowStartsSource, grid: ({ rows }) => grid1d(ceilDiv(rows + 1, 64)) }],
  flops: ({ count, rows }) => rows * Math.log2(count + 1),
  bytes: ({ count, rows }) => 4 * (2 * count + rows),
}
