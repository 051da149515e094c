// Operands of strided kernels for their cases.
import { broadcastLayout, type Layout, type NestProblem, reach, rowMajorStrides } from '../layout.ts'
import type { KernelCase } from '../spec.ts'

/** Counts around the widths of vectors and workgroups. */
export const SIZES = [1, 2, 3, 4, 7, 31, 33, 129, 257, 1025, 8200]

/** A row-major tensor of the shape `own`, broadcast to `shape`. */
export function broadcast(own: readonly number[], shape: readonly number[], offset = 0): Layout {
  return broadcastLayout({ shape: own, strides: rowMajorStrides(own), offset }, shape)
}

export interface Pair {
  name: string
  a: Layout
  b: Layout
}

export function pair(shape: number[], a: readonly number[], b: readonly number[], offsets: [number, number] = [0, 0]): Pair {
  const name = `[${a}] with [${b}]${offsets.some((offset) => offset > 0) ? ` at ${offsets}` : ''}`
  return { name, a: broadcast(a, shape, offsets[0]), b: broadcast(b, shape, offsets[1]) }
}

/** Two views of one shape, each with its strides and its first element. */
function views(name: string, shape: number[], a: [number[], number], b: [number[], number]): Pair {
  const [left, right] = [a, b].map(([strides, offset]): Layout => ({ shape, strides, offset })) as [Layout, Layout]
  return { name, a: left, b: right }
}

/** Pairs of operands that meet in all ways of broadcasting, and pairs of views: transposed, sliced, with any first element. */
export const PAIRS: Pair[] = [
  pair([], [], []),
  ...SIZES.map((n) => pair([n], [n], [n])),
  pair([37], [37], [1]),
  pair([36], [1], [36]),
  pair([5, 36], [5, 36], [36]),
  pair([5, 36], [36], [5, 36]),
  pair([5, 37], [5, 37], [37]),
  pair([5, 36], [5, 1], [5, 36]),
  pair([5, 36], [5, 1], [1, 36]),
  pair([7, 5, 36], [7, 1, 36], [5, 1]),
  pair([3, 4, 5], [3, 1, 5], [4, 1]),
  pair([2, 3, 4, 5, 2, 3, 2, 2], [2, 1, 4, 1, 2, 1, 2, 1], [1, 3, 1, 5, 1, 3, 1, 2]),
  pair([4, 2, 300], [4, 1, 300], [2, 300]),
  pair([9, 260], [9, 260], [9, 260], [4, 64]),
  pair([9, 260], [9, 260], [260], [3, 1]),
  pair([7, 8], [7, 8], [7, 8], [1, 2]),
  views('transposed [33, 17]', [17, 33], [[1, 17], 0], [[33, 1], 0]),
  views('two transposed', [6, 8], [[1, 6], 5], [[1, 6], 0]),
  views('columns of wider rows', [6, 8], [[20, 1], 8], [[12, 1], 4]),
  views('odd columns', [6, 8], [[21, 1], 3], [[8, 1], 0]),
]

/** A case of a kernel whose inputs are the operands of its nest, by name. */
export function nestCase<P extends NestProblem>(
  name: string,
  operands: readonly string[],
  problem: P,
  more: Partial<KernelCase<P>> = {},
): KernelCase<P> {
  const sizes: Record<string, number> = { out: problem.rows * problem.inner }
  for (const [k, operand] of operands.entries()) sizes[operand] = reach(problem, problem.walks[k]!)
  return { name, problem, sizes, ...more }
}

export const AB = ['a', 'b']
export const GRAD_AB = ['grad', 'a', 'b']
export const CONDITION_AB = ['condition', 'a', 'b']
