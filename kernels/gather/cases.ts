import type { Fill, KernelCase } from '../spec.ts'
import type { Gather } from './gather.ts'
import { stableOrder } from './reference.ts'

const SIZES = [1, 7, 31, 33, 129, 257, 1025]

/** Shapes [count, rows, width]: each of SIZES as each of the three, and widths that are multiples of 4. */
const SHAPES: [number, number, number][] = [
  ...SIZES.flatMap((size): [number, number, number][] => [
    [size, 5, 3],
    [3, size, 4],
    [9, 6, size],
  ]),
  [1025, 257, 36],
  [5000, 2, 1],
]

/** Returns a function that gives index k of a case. Many indices repeat, and some rows are never used. */
function repeated(rows: number): (k: number) => number {
  return (k) => ((k * k * 31 + 7 * k) % 1009) % rows
}

/** Returns a function that gives index k of a case: in turn below 0, past the last row, and of a row. */
function outside(rows: number): (k: number) => number {
  return (k) => (k % 3 === 0 ? -1 - k : k % 3 === 1 ? rows + k : k % rows)
}

function gatherCase(shape: [number, number, number], name = shape.join(' '), fill?: Fill): KernelCase<Gather> {
  const [count, rows, width] = shape
  return {
    name,
    problem: { count, rows, width },
    sizes: { weight: rows * width, indices: count, output: count * width },
    fills: { indices: fill ?? repeated(rows) },
    tolerance: 0,
  }
}

export const gatherCases: KernelCase<Gather>[] = [
  ...SHAPES.map((shape) => gatherCase(shape)),
  gatherCase([33, 5, 3], 'NaN for indices outside', outside(5)),
  gatherCase([33, 5, 8], 'NaN for indices outside, vec4', outside(5)),
  gatherCase([3, 5, 2], 'the extreme indices', (k) => [2 ** 31 - 1, -(2 ** 31), 4][k]!),
]

function scatterCase(shape: [number, number, number], name: string, index: (k: number) => number): KernelCase<Gather> {
  const [count, rows, width] = shape
  return {
    name,
    problem: { count, rows, width },
    sizes: { input: count * width, indices: count, output: rows * width },
    fills: { indices: index },
  }
}

export const scatterAddCases: KernelCase<Gather>[] = [
  ...SHAPES.map((shape) => scatterCase(shape, shape.join(' '), repeated(shape[1]))),
  scatterCase([33, 7, 4], 'indices outside are skipped', outside(7)),
  { ...scatterCase([100_000, 3, 1], 'all rows into one', () => 1), fills: { indices: () => 1, input: 'uniform' } },
]

/** Fills with values that are computed at the first use, since every program that uses kernels loads their cases. */
function lazily(compute: () => readonly number[]): (i: number) => number {
  let values: readonly number[] | undefined
  return (i) => {
    values ??= compute()
    return values[i]!
  }
}

/** The order that sorts the first `count` indices. */
function orderOf(count: number, index: (k: number) => number): number[] {
  return stableOrder(Array.from({ length: count }, (_, k) => index(k)))
}

/** The order of the indices of a case, and where each row begins in it. */
function sortedOf({ problem: { count, rows }, fills }: KernelCase<Gather>): { order: Fill; starts: Fill } {
  const index = fills!.indices as (k: number) => number
  const starts = () => {
    const order = orderOf(count, index)
    return Array.from({ length: rows + 1 }, (_, row) => {
      const place = order.findIndex((k) => index(k) >= row)
      return place < 0 ? count : place
    })
  }
  return { order: lazily(() => orderOf(count, index)), starts: lazily(starts) }
}

export const scatterAddSortedCases: KernelCase<Gather>[] = scatterAddCases.map((kase) => {
  const { count, rows } = kase.problem
  const { input, output } = kase.sizes as { input: number; output: number }
  return {
    ...kase,
    sizes: { input, output, order: count, starts: rows + 1 },
    fills: { input: kase.fills!.input ?? 'normal', ...sortedOf(kase) },
  }
})

export const rowStartsCases: KernelCase<{ count: number; rows: number }>[] = scatterAddCases.slice(0, -1).map((kase) => {
  const { count, rows } = kase.problem
  return {
    name: kase.name,
    problem: { count, rows },
    sizes: { indices: count, order: count, starts: rows + 1 },
    fills: { indices: kase.fills!.indices!, order: sortedOf(kase).order },
  }
})
