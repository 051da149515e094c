import { shapesOf } from '../fill.ts'
import { ceilDiv, type KernelCase } from '../spec.ts'
import type { CumsumProblem } from './cumsum.ts'

const SHAPES = shapesOf<[outer: number, n: number, inner: number, chunk?: number]>(
  '1x1x1 7x1x1 31x7x1 600x33x1 9x129x1 2x257x1 3x1025x1 1x5000x1 3x5x4 2x31x7 1x8x1028 2x129x8 1x1025x3',
  '1x5000x1x1024 3x100x1x33 2x129x7x10 1x257x8x64',
)

function problemOf(outer: number, n: number, inner: number, chunk: number, reverse: boolean) {
  const chunks = ceilDiv(n, chunk)
  const size = outer * n * inner
  return {
    problem: { outer, n, inner, chunk, chunks, reverse },
    sizes: { x: size, sums: outer * chunks * inner, y: size },
  }
}

/** Makes a case of equal elements, whose rounding errors have one sign: the worst that rounding can do. */
function constantCase(shape: readonly [number, number, number], chunk: number, value: number): KernelCase<CumsumProblem> {
  const [, n, inner] = shape
  return {
    name: `[${shape}] of ${value}`,
    ...problemOf(...shape, chunk, n % 2 === 0),
    fills: { x: () => value, sums: (i) => value * chunk * (1 + (Math.floor(i / inner) % ceilDiv(n, chunk))) },
    tolerance: 6e-7,
  }
}

function cases(integers: boolean): KernelCase<CumsumProblem>[] {
  return SHAPES.flatMap(([outer, n, inner, chunk = n]) =>
    [false, true].map((reverse) => {
      const whole = (_: number, random: () => number) => Math.floor(2001 * random()) - 1000
      return {
        name: `${reverse ? 'reversed ' : ''}[${outer}, ${n}, ${inner}]${chunk < n ? ` in pieces of ${chunk}` : ''}`,
        ...problemOf(outer, n, inner, chunk, reverse),
        ...(integers ? { fills: { x: whole, sums: whole } } : {}),
      }
    }),
  )
}

export const cumsumCases: readonly KernelCase<CumsumProblem>[] = [
  ...cases(false),
  ...[0.1, 0.7].flatMap((value) => [
    constantCase([1, 300_003, 1], 300_003, value),
    constantCase([1, 100_000, 4], 100_000, value),
    constantCase([2, 10_001, 3], 10_001, value),
    constantCase([1, 200_000, 1], 20_480, value),
  ]),
  {
    name: 'bench [1024, 1024]',
    ...problemOf(1024, 1024, 1, 1024, false),
    bench: true,
  },
  { name: 'bench [1, 8, 131072]', ...problemOf(1, 8, 131072, 8, false), bench: true },
]

export const cumsumIntCases: readonly KernelCase<CumsumProblem>[] = cases(true)
