import type { Arrays } from '../spec.ts'
import type { PlaneInputGradient, PlaneNorm, RowStatistics } from './planeNorm.ts'

function rowOf(p: PlaneNorm, plane: number): number {
  return Math.floor(plane / p.channels) * p.rowsPerBatch + Math.floor((plane % p.channels) / p.channelsPerRow)
}

function planesOf(p: PlaneNorm, row: number): number[] {
  return Array.from({ length: p.planesPerRow }, (_, k) => row * p.rowStep + k * p.planeStep)
}

/** The sum of `f` over the elements of a plane. */
function sumOver({ n }: PlaneNorm, plane: number, f: (i: number) => number): number {
  let sum = 0
  for (let i = plane * n; i < (plane + 1) * n; i++) sum += f(i)
  return sum
}

function rstdOf(variance: number, eps: number): number {
  return Math.fround(variance) < Infinity ? 1 / Math.sqrt(variance + Math.fround(eps)) : Number.NaN
}

export function planeMomentsReference(p: PlaneNorm, { x, moments }: Arrays): Arrays {
  for (let plane = 0; plane < p.planes; plane++) {
    const first = x![rowOf(p, plane) * p.rowStep * p.n]!
    const mean = sumOver(p, plane, (i) => x![i]! - first) / p.n
    moments![2 * plane] = mean
    moments![2 * plane + 1] = sumOver(p, plane, (i) => (x![i]! - first - mean) ** 2)
  }
  return { moments: moments! }
}

export function rowStatisticsReference(p: RowStatistics, arrays: Arrays): Arrays {
  const { x, moments, statistics, runningMean, runningVariance } = arrays as Record<string, Float64Array>
  const momentum = Math.fround(p.momentum)
  for (let row = 0; row < p.rows; row++) {
    const planes = planesOf(p, row)
    const mean = planes.reduce((sum, plane) => sum + moments![2 * plane]!, 0) / planes.length
    const squares = planes.reduce((sum, plane) => sum + moments![2 * plane + 1]! + p.n * (moments![2 * plane]! - mean) ** 2, 0)
    const count = planes.length * p.n
    const first = x![row * p.rowStep * p.n]!
    statistics!.set([first, mean, rstdOf(squares / count, p.eps), 0], 4 * row)
    if (!p.running) continue
    runningMean![row] = (1 - momentum) * runningMean![row]! + momentum * (first + mean)
    runningVariance![row] = (1 - momentum) * runningVariance![row]! + (momentum * squares) / (count - 1)
  }
  return { statistics: statistics!, runningMean: runningMean!, runningVariance: runningVariance! }
}

export function runningStatisticsReference(p: PlaneNorm, { runningMean, runningVariance, statistics }: Arrays): Arrays {
  for (let row = 0; row < p.rows; row++)
    statistics!.set([runningMean![row]!, 0, rstdOf(runningVariance![row]!, p.eps), 0], 4 * row)
  return { statistics: statistics! }
}

/** The normalized element i. */
function normalized(p: PlaneNorm, x: Float64Array, statistics: Float64Array, i: number): number {
  const at = 4 * rowOf(p, Math.floor(i / p.n))
  return (x[i]! - statistics[at]! - statistics[at + 1]!) * statistics[at + 2]!
}

export function planeNormalizeReference(p: PlaneNorm, { x, statistics, weight, bias, y }: Arrays): Arrays {
  for (let i = 0; i < p.planes * p.n; i++) {
    const channel = Math.floor(i / p.n) % p.channels
    y![i] = normalized(p, x!, statistics!, i) * weight![channel]! + bias![channel]!
  }
  return { y: y! }
}

export function planeGradientSumsReference(p: PlaneNorm, { x, statistics, dy, sums }: Arrays): Arrays {
  for (let plane = 0; plane < p.planes; plane++) {
    sums![2 * plane] = sumOver(p, plane, (i) => dy![i]!)
    sums![2 * plane + 1] = sumOver(p, plane, (i) => dy![i]! * normalized(p, x!, statistics!, i))
  }
  return { sums: sums! }
}

export function rowGradientMeansReference(p: PlaneNorm, { sums, weight, means }: Arrays): Arrays {
  for (let row = 0; row < p.rows; row++) {
    for (const k of [0, 1]) {
      const total = planesOf(p, row).reduce((sum, plane) => sum + weight![plane % p.channels]! * sums![2 * plane + k]!, 0)
      means![2 * row + k] = total / (p.planesPerRow * p.n)
    }
  }
  return { means: means! }
}

export function planeInputGradientReference(p: PlaneInputGradient, arrays: Arrays): Arrays {
  const { x, statistics, weight, means, dy, dx } = arrays as Record<string, Float64Array>
  for (let i = 0; i < p.planes * p.n; i++) {
    const plane = Math.floor(i / p.n)
    const row = rowOf(p, plane)
    const gradient = dy![i]! * weight![plane % p.channels]!
    const taken = p.fixed ? 0 : means![2 * row]! + normalized(p, x!, statistics!, i) * means![2 * row + 1]!
    dx![i] = statistics![4 * row + 2]! * (gradient - taken)
  }
  return { dx: dx! }
}
