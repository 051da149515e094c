import type { Fill, KernelCase } from '../spec.ts'
import type { Along, GatherAlong, ScatterUnique } from './along.ts'
import type { OneHot, Triangle } from './places.ts'
import { bitsOf } from './reference.ts'
import { fixedPointShift, type ScatterSum, type ScatterTotal } from './sums.ts'

type Shape = [outer: number, n: number, m: number, inner: number]

/** Each of some sizes at each place, and widths that vec4s take. */
const SHAPES: Shape[] = [
  ...[1, 7, 33, 129, 1025].flatMap((size): Shape[] => [
    [size, 3, 2, 1],
    [2, size, 5, 1],
    [2, 5, size, 3],
    [3, 4, 7, size],
  ]),
  [1, 300, 2000, 4],
  [1, 300, 2000, 1],
]

const words: Fill = (_, random) => Math.floor(random() * 2 ** 32)

/** Indices of which many repeat, and some lie outside. */
function indices(n: number): Fill {
  return (k) => (k % 11 === 10 ? [-1, n, 2 ** 31 - 1, -(2 ** 31)][((k / 11) % 4) | 0]! : ((k * k * 31 + 7 * k) % 1009) % n)
}

/** Indices of their own for every element, or shared by the elements of a row or by all rows. */
function alongProblems(): [string, Along][] {
  return SHAPES.flatMap(([outer, n, m, inner]): [string, Along][] => {
    const sizes = { outer, n, m, inner, indexOffset: 0 }
    const name = `[${outer}, ${n} by ${m}, ${inner}]`
    return [
      [name, { ...sizes, indexOuter: m * inner, indexStride: inner, indexInner: 1 }],
      [`${name}, one index a row`, { ...sizes, indexOffset: 3, indexOuter: 0, indexStride: 2, indexInner: 0 }],
    ]
  })
}

function indexSize({ outer, m, inner, indexOffset, indexOuter, indexStride, indexInner }: Along): number {
  return indexOffset + (outer - 1) * indexOuter + (m - 1) * indexStride + (inner - 1) * indexInner + 1
}

/** Cases of a kernel by its own sizes and fills, which are functions of the problem. */
function alongCases<P extends Along>(
  make: (along: Along) => { problem: P; sizes: Record<string, number>; fills: Record<string, Fill> },
): KernelCase<P>[] {
  return alongProblems().map(([name, along]) => {
    const { problem, sizes, fills } = make(along)
    return {
      name,
      problem,
      sizes: { index: indexSize(along), ...sizes },
      fills: { index: indices(along.n), ...fills },
      tolerance: 0,
    }
  })
}

const into = ({ outer, n, inner }: Along) => outer * n * inner
const from = ({ outer, m, inner }: Along) => outer * m * inner
const zeros: Fill = () => 0

export const gatherAlongCases: KernelCase<GatherAlong>[] = [
  ...alongCases((along) => ({
    problem: { ...along, missing: 0x80000000 } as GatherAlong,
    sizes: { x: into(along), output: from(along) },
    fills: { x: words },
  })),
  ...alongCases((along) => ({
    problem: { ...along, missing: 0x7fc00000, dtype: 'f16' } as GatherAlong,
    sizes: { x: into(along), output: from(along) },
    // float16 has no NaN in these cases, so that results can be compared.
    fills: { index: (k) => (k * 31) % along.n },
  })),
]

export const scatterWinnersCases = alongCases((along) => ({
  problem: along,
  sizes: { winners: into(along) },
  fills: { winners: zeros },
}))

/** For each target no winner, or one of m. */
const someWinner = (m: number): Fill => {
  return (k) => (k * 7) % (m + 1)
}

export const scatterPickCases = alongCases((along) => ({
  problem: along,
  sizes: { x: into(along), src: from(along), winners: into(along), output: into(along) },
  fills: { x: words, src: words, winners: someWinner(along.m) },
}))

export const scatterSourceCases = alongCases((along) => ({
  problem: along,
  sizes: { grad: into(along), winners: into(along), output: from(along) },
  fills: { winners: someWinner(along.m) },
}))

/** Numbers of very different sizes, zeros among them. */
const spread: Fill = (k, random) => (k % 17 === 0 ? 0 : (random() - 0.5) * 2 ** Math.floor(60 * random() - 30))
const magnitudes: Fill = (k, random) => bitsOf(2 ** ((k % 40) - 5) * (1 + random()))

export const scatterLargestCases = alongCases((along) => ({
  problem: along,
  sizes: { src: from(along), largest: into(along) },
  fills: { src: spread, largest: zeros },
}))

export const scatterSumCases: KernelCase<ScatterSum>[] = alongCases((along) => ({
  problem: { ...along, shift: fixedPointShift(along.m) },
  sizes: { src: from(along), largest: into(along), sums: 2 * into(along) },
  // The largest of every target is 2^31, above all that is added.
  fills: { src: spread, largest: () => bitsOf(2 ** 31), sums: zeros },
}))

export const scatterTotalCases: KernelCase<ScatterTotal>[] = [1, 7, 33, 1025].flatMap((count) =>
  [true, false].map((add) => ({
    name: `${count}${add ? '' : ', without x'}`,
    problem: { count, shift: 27, add },
    sizes: { x: count, largest: count, sums: 2 * count, output: count },
    fills: { largest: magnitudes, sums: words },
    tolerance: 1e-7,
  })),
)

const integers: Fill = (_, random) => Math.floor(random() * 2 ** 32) - 2 ** 31

export const scatterAddIntCases = alongCases((along) => ({
  problem: along,
  sizes: { src: from(along), sums: into(along) },
  fills: { src: integers, sums: integers },
}))

export const triangleCases: KernelCase<Triangle>[] = ([undefined, 'f16'] as const).flatMap((dtype) =>
  [false, true].flatMap((lower) =>
    (
      [
        [1, 1, 1, 0],
        [3, 7, 7, 0],
        [2, 5, 9, 2],
        [2, 9, 5, -3],
        [1, 33, 129, -40],
        [1, 33, 36, 2 ** 31 - 200],
      ] as const
    ).map(([batches, rows, columns, diagonal]): KernelCase<Triangle> => {
      const size = batches * rows * columns
      return {
        name: `${lower ? 'lower' : 'upper'} ${diagonal} of [${batches}, ${rows}, ${columns}]${dtype ? ', f16' : ''}`,
        problem: { batches, rows, columns, diagonal, lower, ...(dtype && { dtype }) },
        sizes: { x: size, output: size },
        fills: dtype ? {} : { x: words },
        tolerance: 0,
      }
    }),
  ),
)

export const oneHotCases: KernelCase<OneHot>[] = (['i32', 'f32', 'f16'] as const).flatMap((dtype) =>
  (
    [
      [1, 1],
      [7, 10],
      [257, 3],
      [5, 129],
    ] as const
  ).map(
    ([count, classes]): KernelCase<OneHot> => ({
      name: `${count} of ${classes} as ${dtype}`,
      problem: { count, classes, dtype },
      sizes: { labels: count, output: count * classes },
      fills: { labels: (k) => ((k * 7) % (classes + 2)) - 1 },
      tolerance: 0,
    }),
  ),
)

export const scatterUniqueCases: KernelCase<ScatterUnique>[] = ([undefined, 'f16'] as const).flatMap((dtype) =>
  (
    [
      [7, 1025, 33, 1],
      [3, 5, 5, 3],
      [1, 9, 4, 129],
    ] as const
  ).map(([outer, n, m, inner]): KernelCase<ScatterUnique> => {
    const index = { indexOffset: 0, indexOuter: m * inner, indexStride: inner, indexInner: 1 }
    return {
      name: `[${outer}, ${n} by ${m}, ${inner}]${dtype ? ', f16' : ''}`,
      problem: { outer, n, m, inner, ...index, ...(dtype && { dtype }) },
      sizes: { src: outer * m * inner, index: outer * m * inner, output: outer * n * inner },
      fills: {
        // The last index of some lines lies outside.
        index: (k) => (Math.floor(k / inner) % m === m - 1 && k % 2 ? n : ((Math.floor(k / inner) % m) + 3 * (k % inner)) % n),
        output: 'normal',
      },
      tolerance: 0,
    }
  }),
)
