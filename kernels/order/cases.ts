import type { Fill, KernelCase } from '../spec.ts'
import type { MergeRuns, Order, SelectTop, SortRuns } from './order.ts'
import { keyOf } from './reference.ts'

type Shape = [outer: number, n: number, inner: number]

const SHAPES: Shape[] = [...[1, 2, 7, 15, 16].map((n): Shape => [3, n, 2]), [300, 9, 1]]
const LONG: Shape[] = [
  [2, 17, 3],
  [1, 64, 1],
  [3, 257, 1],
  [2, 1024, 2],
  [1, 5000, 1],
]

/** Numbers of which many are equal. */
const ties: Fill = (_, random) => Math.floor(40 * random()) - 20
const integers: Fill = (_, random) => Math.floor(random() * 2 ** 32) - 2 ** 31

/** The directions, and the elements of each dtype. */
const ORDERS: [string, Pick<Order, 'dtype' | 'descending' | 'nanFirst'>, Fill][] = [
  ['f32', { dtype: 'f32', descending: false, nanFirst: false }, 'normal'],
  ['f32 with ties, descending', { dtype: 'f32', descending: true, nanFirst: true }, ties],
  ['i32, descending', { dtype: 'i32', descending: true, nanFirst: false }, integers],
]

/** Pairs of an earlier pass, whose keys are of normal numbers and whose indices are in a mixed order. */
const pairs: Fill = (i, random) => {
  const order = { dtype: 'f32', descending: false, nanFirst: false } as const
  return i % 2 ? ((i - 1) / 2) ^ 5 : keyOf(Math.floor(30 * random()), order)
}

function runsCase(
  [outer, n, inner]: Shape,
  run: number,
  more: Partial<SortRuns> = {},
  order = ORDERS[0]!,
): KernelCase<SortRuns> {
  const last = n <= run
  const problem = { outer, n, inner, run, keep: run, pairs: false, last, ...order[1], ...more }
  const [lines, whole] = [outer * inner, problem.keep >= run]
  const kept = whole ? n : Math.ceil(n / run) * problem.keep
  return {
    name: `[${outer}, ${n}, ${inner}] of ${order[0]}, ${problem.keep} of runs of ${run}${problem.pairs ? ' of pairs' : ''}`,
    problem,
    sizes: {
      x: problem.pairs ? 1 : lines * n,
      before: problem.pairs ? 2 * lines * n : 2,
      pairs: last ? 2 : 2 * lines * kept,
      indices: last ? lines * Math.min(n, problem.keep) : 1,
    },
    fills: { x: order[2], before: pairs },
  }
}

export const sortRunsCases: KernelCase<SortRuns>[] = [
  ...ORDERS.flatMap((order) => [...SHAPES, ...LONG].map((shape) => runsCase(shape, 16, {}, order))),
  ...[...SHAPES, ...LONG].map((shape) => runsCase(shape, 64)),
  ...LONG.map((shape) => runsCase(shape, 1024, {}, ORDERS[1]!)),
  ...LONG.flatMap((shape) => [3, 20].map((keep) => runsCase(shape, 64, { keep }))),
  ...LONG.flatMap((shape) => [3, 20].map((keep) => runsCase(shape, 64, { keep, pairs: true }))),
  { ...runsCase([1024, 1024, 1], 1024, {}, ORDERS[0]!), bench: true },
]

/** A fill of pairs in sorted runs of a line. */
function sortedRuns([outer, n, inner]: Shape, run: number): Fill {
  const order = { dtype: 'f32', descending: false, nanFirst: false } as const
  let words: number[] | undefined
  const make = () =>
    Array.from({ length: outer * inner }, (_, line) => {
      const all = Array.from({ length: n }, (_, k) => [keyOf(((k * k * 31 + line) % 97) - 40, order), k] as const)
      const runs = Array.from({ length: Math.ceil(n / run) }, (_, r) => all.slice(r * run, (r + 1) * run))
      return runs.flatMap((pairs) => pairs.sort((a, b) => a[0] - b[0] || a[1] - b[1]).flat())
    }).flat()
  return (i) => {
    words ??= make()
    return words[i]!
  }
}

function mergeCase(shape: Shape, run: number): KernelCase<MergeRuns> {
  const [outer, n, inner] = shape
  const last = n <= 2 * run
  return {
    name: `[${shape}] in runs of ${run}`,
    problem: { outer, n, inner, run, last },
    sizes: { pairs: 2 * outer * n * inner, merged: last ? 2 : 2 * outer * n * inner, indices: last ? outer * n * inner : 1 },
    fills: { pairs: sortedRuns(shape, run) },
  }
}

export const mergeRunsCases: KernelCase<MergeRuns>[] = [
  ...[...SHAPES, ...LONG].flatMap((shape) => [16, 128, 1024].map((run) => mergeCase(shape, run))),
  { ...mergeCase([1, 2 ** 20, 1], 2 ** 17), bench: true },
]

function selectCase(
  [outer, n, inner]: Shape,
  k: number,
  chunks: number,
  more: Partial<SelectTop> = {},
  order = ORDERS[0]!,
): KernelCase<SelectTop> {
  const last = chunks === 1
  const lines = outer * inner
  const problem = { outer, n, inner, k, chunks, pairs: false, last, ...order[1], ...more }
  return {
    name: `${k} of [${outer}, ${n}, ${inner}] of ${order[0]} in ${chunks}${problem.pairs ? ' of pairs' : ''}`,
    problem,
    sizes: {
      x: problem.pairs ? 1 : lines * n,
      before: problem.pairs ? 2 * lines * n : 2,
      pairs: last ? 2 : 2 * lines * chunks * k,
      indices: last ? lines * k : 1,
    },
    fills: { x: order[2], before: pairs },
  }
}

export const selectTopCases: KernelCase<SelectTop>[] = [
  ...LONG.flatMap((shape) => [1, 4].map((k) => selectCase(shape, k, 1))),
  ...LONG.flatMap((shape) => [5, 8, 17].map((k) => selectCase(shape, k, 1, {}, ORDERS[1]!))),
  ...LONG.map((shape) => selectCase(shape, 13, 1, {}, ORDERS[2]!)),
  ...LONG.flatMap((shape) => [3, 13].map((k) => selectCase(shape, k, 7))),
  ...LONG.map((shape) => selectCase(shape, 13, 1, { pairs: true })),
  ...LONG.map((shape) => selectCase(shape, 13, 7, { pairs: true })),
  { ...selectCase([1024, 1024, 1], 10, 1), bench: true },
]
