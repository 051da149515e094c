import { shapesOf } from '../fill.ts'
import type { Fill, KernelCase } from '../spec.ts'
import type { SoftmaxProblem } from './softmax.ts'

const SHAPES = shapesOf<[outer: number, n: number, inner: number]>(
  '1x1x1 7x1x1 31x7x1 3x31x1 600x33x1 1025x4x1 9x129x1 2x257x1 5x1025x1 33x1028x1 1x5000x1',
  '3x5x4 2x33x7 4x129x8 1x7x1025 2x3x2052',
)

/** Logits of up to ±1e4. Rows are in turn of four kinds: ordinary differences, one winner, two winners, all equal. */
function extreme(n: number): Fill {
  return (index, random) => {
    const row = Math.floor(index / n) % 4
    const j = index % n
    if (row === 0) return 2 * random() - 1 + 1e4
    if (row === 1) return j === n >> 1 ? 1e4 : -1e4
    if (row === 2) return j < 2 ? 1e4 : -1e4 * random()
    return -1e4
  }
}

function named(problem: SoftmaxProblem): string {
  return `${problem.log ? 'log ' : ''}[${problem.outer}, ${problem.n}, ${problem.inner}]`
}

const problems: SoftmaxProblem[] = SHAPES.flatMap(([outer, n, inner]) => [
  { outer, n, inner, log: false },
  { outer, n, inner, log: true },
])

export const softmaxCases: readonly KernelCase<SoftmaxProblem>[] = [
  ...problems.map((problem) => {
    const size = problem.outer * problem.n * problem.inner
    return { name: named(problem), problem, sizes: { x: size, y: size } }
  }),
  ...[31, 64].flatMap((n) =>
    [false, true].map((log) => ({
      name: `${log ? 'log ' : ''}logits of 1e4, n ${n}`,
      problem: { outer: 8, n, inner: 1, log },
      sizes: { x: 8 * n, y: 8 * n },
      fills: { x: extreme(n) },
    })),
  ),
  {
    name: 'bench [1024, 1024]',
    problem: { outer: 1024, n: 1024, inner: 1, log: false },
    sizes: { x: 1 << 20, y: 1 << 20 },
    bench: true,
  },
]

/** Random outputs of softmax, which need not sum to 1 to check the formula, or of logSoftmax, which are negative. */
function outputs(log: boolean): Fill {
  return (_, random) => (log ? Math.log(random() + 1e-3) : random())
}

export const softmaxBackwardCases: readonly KernelCase<SoftmaxProblem>[] = [
  ...problems.map((problem) => {
    const size = problem.outer * problem.n * problem.inner
    // The sum of a long line of both signs may nearly cancel, and float32 then keeps few of its digits.
    const dy: Fill = problem.n >= 5000 ? 'uniform' : 'normal'
    return { name: named(problem), problem, sizes: { y: size, dy: size, dx: size }, fills: { y: outputs(problem.log), dy } }
  }),
  {
    name: 'more lines than one dimension of a grid takes workgroups',
    problem: { outer: 65601, n: 2, inner: 1, log: false },
    sizes: { y: 2 * 65601, dy: 2 * 65601, dx: 2 * 65601 },
  },
  {
    name: 'bench [1024, 1024]',
    problem: { outer: 1024, n: 1024, inner: 1, log: false },
    sizes: { y: 1 << 20, dy: 1 << 20, dx: 1 << 20 },
    bench: true,
  },
]
