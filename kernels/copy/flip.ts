import type { Layout } from '../layout.ts'
import { type Copy, copyProblem } from './copy.ts'

/** The number that WGSL adds, modulo 2^32, where a stride is negative. */
const wrapped = (stride: number) => stride >>> 0

/**
 * The problem of `copy` that reverses the order along some dims. The source is walked there from its last element with a negative stride,
 * which parameters hold modulo 2^32.
 * @param dims the dims that are reversed
 */
export function flipProblem(
  source: Layout,
  target: Layout,
  dims: readonly number[],
  types: Pick<Copy, 'from' | 'to'> = {},
): Copy {
  const reversed = (d: number) => dims.includes(d) && source.shape[d]! > 1
  const strides = source.strides.map((stride, d) => (reversed(d) ? 0 - stride : stride))
  const offset = source.strides.reduce(
    (at, stride, d) => at + (reversed(d) ? (source.shape[d]! - 1) * stride : 0),
    source.offset,
  )
  const problem = copyProblem({ shape: source.shape, strides, offset }, target, types)
  const walk = problem.walks[0]!
  return Object.assign(problem, { sourceStrides: walk.strides.map(wrapped), sourceStep: wrapped(walk.step) })
}
