import type { Fill, KernelCase } from '../spec.ts'
import { batchRows, groupRows, type PlaneInputGradient, type PlaneNorm, type RowStatistics } from './planeNorm.ts'

interface Named {
  name: string
  problem: PlaneNorm
  bench?: boolean
}

/** groups: 0 for batchNorm. */
function norm(batch: number, channels: number, n: number, groups: number, bench = false): Named {
  const rows = groups === 0 ? batchRows(batch, channels) : groupRows(batch, channels, groups)
  const name = `[${batch}, ${channels}, ${n}] ${groups === 0 ? 'batch' : `${groups} groups`}`
  return { name, problem: { ...rows, n, eps: 1e-5, momentum: 0.1 }, ...(bench && { bench }) }
}

const NORMS: readonly Named[] = [
  norm(1, 1, 2, 0),
  norm(3, 5, 7, 0),
  norm(70, 3, 36, 0),
  norm(2, 6, 257, 3),
  norm(3, 8, 1028, 2),
  norm(2, 140, 49, 1),
  norm(2, 3, 33_000, 3),
  norm(600, 1, 1, 0),
  norm(32, 64, 784, 0, true),
]

function casesOf<P extends PlaneNorm>(
  make: (p: PlaneNorm) => { sizes: Record<string, number>; fills?: Record<string, Fill>; more?: Omit<P, keyof PlaneNorm> },
  name = '',
): KernelCase<P>[] {
  return NORMS.map(({ problem, ...rest }) => {
    const { more, ...made } = make(problem)
    return { ...rest, ...made, name: rest.name + name, problem: { ...problem, ...more } as P }
  })
}

const size = ({ planes, n }: PlaneNorm) => planes * n
/** A large common mean. */
const far: Fill = (_, random) => 1000 + random()
/** Moments: means around 0 and positive sums of squares. */
const moments: Fill = (i, random) => (i % 2 === 0 ? random() - 0.5 : 5 + random())
/** Statistics: first element, mean minus it, rstd and 0. */
const statistics: Fill = (i, random) => [random(), random() - 0.5, 0.5 + random(), 0][i % 4]!
const positive: Fill = (_, random) => 0.5 + random()

export const planeMomentsCases: readonly KernelCase<PlaneNorm>[] = casesOf((p) => ({
  sizes: { x: size(p), moments: 2 * p.planes },
  fills: { x: far },
}))

export const rowStatisticsCases: readonly KernelCase<RowStatistics>[] = [true, false].flatMap((running) =>
  casesOf<RowStatistics>(
    (p) => ({
      sizes: {
        ...{ x: size(p), moments: 2 * p.planes, statistics: 4 * p.rows },
        ...{ runningMean: running ? p.rows : 1, runningVariance: running ? p.rows : 1 },
      },
      fills: { moments, ...(running && { runningMean: 'normal', runningVariance: positive }) },
      more: { running },
    }),
    running ? ' running' : '',
  ),
)

export const runningStatisticsCases: readonly KernelCase<PlaneNorm>[] = casesOf((p) => ({
  sizes: { runningMean: p.rows, runningVariance: p.rows, statistics: 4 * p.rows },
  fills: { runningVariance: positive },
}))

export const planeNormalizeCases: readonly KernelCase<PlaneNorm>[] = casesOf((p) => ({
  sizes: { x: size(p), statistics: 4 * p.rows, weight: p.channels, bias: p.channels, y: size(p) },
  fills: { statistics },
}))

export const planeGradientSumsCases: readonly KernelCase<PlaneNorm>[] = casesOf((p) => ({
  sizes: { x: size(p), statistics: 4 * p.rows, dy: size(p), sums: 2 * p.planes },
  fills: { statistics },
}))

export const rowGradientMeansCases: readonly KernelCase<PlaneNorm>[] = casesOf((p) => ({
  sizes: { sums: 2 * p.planes, weight: p.channels, means: 2 * p.rows },
}))

export const planeInputGradientCases: readonly KernelCase<PlaneInputGradient>[] = [false, true].flatMap((fixed) =>
  casesOf<PlaneInputGradient>(
    (p) => ({
      sizes: {
        ...{ x: size(p), statistics: 4 * p.rows, weight: p.channels, means: fixed ? 1 : 2 * p.rows },
        ...{ dy: size(p), dx: size(p) },
      },
      fills: { statistics },
      more: { fixed },
    }),
    fixed ? ' fixed' : '',
  ),
)
