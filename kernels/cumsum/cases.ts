import type { KernelCase } from '../spec.ts'
import type { CumsumProblem } from './cumsum.ts'

const SHAPES: readonly [outer: number, n: number, inner: number][] = [
  [1, 1, 1],
  [7, 1, 1],
  [31, 7, 1],
  [600, 33, 1],
  [9, 129, 1],
  [2, 257, 1],
  [3, 1025, 1],
  [1, 5000, 1],
  [3, 5, 4],
  [2, 31, 7],
  [1, 8, 1028],
  [2, 129, 8],
  [1, 1025, 3],
]

function cases(integers: boolean): KernelCase<CumsumProblem>[] {
  return SHAPES.flatMap(([outer, n, inner]) =>
    [false, true].map((reverse) => {
      const size = outer * n * inner
      return {
        name: `${reverse ? 'reversed ' : ''}[${outer}, ${n}, ${inner}]`,
        problem: { outer, n, inner, reverse },
        sizes: { x: size, y: size },
        ...(integers ? { fills: { x: (_: number, random: () => number) => Math.floor(2001 * random()) - 1000 } } : {}),
      }
    }),
  )
}

export const cumsumCases: readonly KernelCase<CumsumProblem>[] = [
  ...cases(false),
  {
    name: 'bench [1024, 1024]',
    problem: { outer: 1024, n: 1024, inner: 1, reverse: false },
    sizes: { x: 1 << 20, y: 1 << 20 },
    bench: true,
  },
]

export const cumsumIntCases: readonly KernelCase<CumsumProblem>[] = cases(true)
