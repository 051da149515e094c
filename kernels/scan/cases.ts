import type { AxisView } from '../axisView.ts'
import type { Fill, KernelCase } from '../spec.ts'
import type { Scan } from './scan.ts'

const SHAPES: readonly [outer: number, n: number, inner: number][] = [
  [1, 1, 1],
  [5, 7, 1],
  [3, 33, 4],
  [70, 129, 1],
  [2, 2500, 3],
]

/** Factors near 1, some of which are 0. */
const factors: Fill = (i, random) => (i % 211 === 7 ? 0 : (random() < 0.5 ? -1 : 1) * (0.99 + 0.02 * random()))
const integers: Fill = (_, random) => Math.floor(random() * 2 ** 32) - 2 ** 31
const ties: Fill = (_, random) => Math.floor(random() * 20) - 10

function scanCases(fills: readonly [Scan['dtype'], Fill][], result: string): KernelCase<Scan>[] {
  return fills.flatMap(([dtype, fill], i) =>
    SHAPES.map(([outer, n, inner]): KernelCase<Scan> => {
      const size = outer * n * inner
      return {
        name: `[${outer}, ${n}, ${inner}] of ${dtype} ${i}`,
        problem: { outer, n, inner, dtype },
        sizes: { x: size, [result]: size },
        fills: { x: fill },
      }
    }),
  )
}

export const cumprodCases = scanCases(
  [
    ['f32', factors],
    ['i32', integers],
  ],
  'y',
)

export const cummaxCases = scanCases(
  [
    ['f32', 'normal'],
    ['f32', ties],
    ['i32', integers],
  ],
  'indices',
)

export const cumprodBackwardCases: KernelCase<AxisView>[] = SHAPES.map(([outer, n, inner]) => {
  const size = outer * n * inner
  return {
    name: `[${outer}, ${n}, ${inner}]`,
    problem: { outer, n, inner },
    sizes: { x: size, grad: size, dx: size },
    fills: { x: factors },
  }
})
