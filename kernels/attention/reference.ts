import { philox4x32 } from '../random/philox.ts'
import type { Arrays } from '../spec.ts'
import type { AttentionProblem, KeyValueGradientProblem, QueryGradientProblem } from './attention.ts'
import type { GradientsProblem } from './gradients.ts'
import type { AttentionShape, RowView } from './shape.ts'

/** Returns the index of the first element of a row. */
function start([offset, batch, head, token]: RowView, b: number, h: number, t: number): number {
  return offset + b * batch + h * head + t * token
}

function dot(a: Float64Array, aStart: number, b: Float64Array, bStart: number, width: number): number {
  let sum = 0
  for (let d = 0; d < width; d++) sum += a[aStart + d]! * b[bStart + d]!
  return sum
}

/** The index of a query in a [B, H, Tq] array. */
function rowIndex({ heads, queries }: AttentionShape, b: number, h: number, t: number): number {
  return (b * heads + h) * queries + t
}

/** The number that is added to the score of a query and a key, -Infinity where the key is hidden. */
function added(problem: AttentionShape, mask: Float64Array, b: number, h: number, t: number, j: number): number {
  const { queries, period = queries, causal, masks, mask: view, maskStep = 0 } = problem
  const position = t % period
  if (causal && j > position) return -Infinity
  if (!masks || !view) return 0
  const head = h * (queries / period) + Math.floor(t / period)
  const value = mask[start(view, b, head, position) + j * maskStep]!
  if (masks === 'boolean') return value === 0 ? -Infinity : 0
  // Kernels compute in base 2.
  return Math.fround(value * Math.LOG2E) === -Infinity ? -Infinity : value
}

/** The factor by which dropout multiplies the probability of a query and a key. */
function kept(problem: AttentionShape, b: number, h: number, t: number, j: number): number {
  const { threshold, keepScale = 1, seedLow = 0, seedHigh = 0, streamLow = 0, streamHigh = 0 } = problem
  if (threshold === undefined) return 1
  const words = philox4x32([j >>> 2, rowIndex(problem, b, h, t), streamLow, streamHigh], [seedLow, seedHigh])
  return words[j & 3]! >= threshold ? Math.fround(keepScale) : 0
}

/** Calls `body` for each query of each head, with the query's index in a [B, H, Tq] array. */
function eachQuery(problem: AttentionShape, body: (b: number, h: number, t: number, at: number) => void) {
  const { batch, heads, queries } = problem
  for (let b = 0; b < batch; b++) {
    for (let h = 0; h < heads; h++) {
      for (let t = 0; t < queries; t++) body(b, h, t, rowIndex(problem, b, h, t))
    }
  }
}

/**
 * Computes the textbook formula: all scores of a row, their maximum, the exponentials, the weighted sum of the values. A query that sees
 * nothing gives zeros, and a log-sum-exp of Infinity.
 */
export function attentionReference(problem: AttentionProblem, arrays: Arrays): Arrays {
  const { q, k, v, out, lse, mask } = arrays as Record<string, Float64Array> & Arrays
  const { keys, width, scale } = problem
  eachQuery(problem, (b, h, t, at) => {
    const qRow = start(problem.q, b, h, t)
    const seen = Array.from({ length: keys }, (_, j) => j).filter((j) => added(problem, mask!, b, h, t, j) !== -Infinity)
    const scores = Float64Array.from(seen, (j) => {
      return scale * dot(q!, qRow, k!, start(problem.k, b, h, j), width) + added(problem, mask!, b, h, t, j)
    })
    const top = scores.reduce((a, b) => Math.max(a, b), -Infinity)
    const exps = scores.map((score) => Math.exp(score - top))
    const total = exps.reduce((sum, e) => sum + e, 0)
    lse![at] = seen.length === 0 ? Infinity : top + Math.log(total)
    const sums = new Float64Array(width)
    for (const [n, j] of seen.entries()) {
      const vRow = start(problem.v, b, h, j)
      const weight = exps[n]! * kept(problem, b, h, t, j)
      for (let d = 0; d < width; d++) sums[d]! += weight * v![vRow + d]!
    }
    const outRow = start(problem.out, b, h, t)
    for (let d = 0; d < width; d++) out![outRow + d] = seen.length === 0 ? 0 : sums[d]! / total
  })
  return { out: out!, lse: lse! }
}

/** Where delta begins in the statistics: behind the log-sum-exps, at a multiple of 64. */
export function deltaStart({ batch, heads, queries }: AttentionShape): number {
  return 64 * Math.ceil((batch * heads * queries) / 64)
}

/** Computes delta = rowsum(dOut * out), ds = p (dOut v^T - delta) and dq = scale ds k. */
export function queryGradientReference(problem: QueryGradientProblem, arrays: Arrays): Arrays {
  const { q, k, v, out, dOut, dq, statistics, mask } = arrays as Record<string, Float64Array> & Arrays
  const { keys, width, scale } = problem
  // By the length of the array, since the problem may be the first part of a larger one.
  const behind = 64 * Math.ceil(statistics!.length / 128)
  eachQuery(problem, (b, h, t, at) => {
    const dOutRow = start(problem.dOut, b, h, t)
    const delta = dot(dOut!, dOutRow, out!, start(problem.out, b, h, t), width)
    statistics![behind + at] = delta
    const qRow = start(problem.q, b, h, t)
    const sums = new Float64Array(width)
    for (let j = 0; j < keys; j++) {
      const more = added(problem, mask!, b, h, t, j)
      if (more === -Infinity) continue
      const kRow = start(problem.k, b, h, j)
      const p = Math.exp(scale * dot(q!, qRow, k!, kRow, width) + more - statistics![at]!)
      const dp = kept(problem, b, h, t, j) * dot(dOut!, dOutRow, v!, start(problem.v, b, h, j), width)
      for (let d = 0; d < width; d++) sums[d]! += scale * p * (dp - delta) * k![kRow + d]!
    }
    dq!.set(sums, start(problem.dq, b, h, t))
  })
  return { dq: dq!, statistics: statistics! }
}

/** Computes dv = p^T dOut and dk = scale ds^T q. */
export function keyValueGradientReference(problem: KeyValueGradientProblem, arrays: Arrays): Arrays {
  const { q, k, v, dOut, lse, delta, dkv, mask } = arrays as Record<string, Float64Array> & Arrays
  const { batch, heads, queries, keys, width, scale } = problem
  for (let b = 0; b < batch; b++) {
    for (let h = 0; h < heads; h++) {
      for (let j = 0; j < keys; j++) {
        const kRow = start(problem.k, b, h, j)
        const vRow = start(problem.v, b, h, j)
        const dk = new Float64Array(width)
        const dv = new Float64Array(width)
        for (let t = 0; t < queries; t++) {
          const more = added(problem, mask!, b, h, t, j)
          if (more === -Infinity) continue
          const at = rowIndex(problem, b, h, t)
          const qRow = start(problem.q, b, h, t)
          const dOutRow = start(problem.dOut, b, h, t)
          const factor = kept(problem, b, h, t, j)
          const p = Math.exp(scale * dot(q!, qRow, k!, kRow, width) + more - lse![at]!)
          const ds = p * (factor * dot(dOut!, dOutRow, v!, vRow, width) - delta![at]!)
          for (let d = 0; d < width; d++) {
            dk[d]! += scale * ds * q![qRow + d]!
            dv[d]! += factor * p * dOut![dOutRow + d]!
          }
        }
        dkv!.set(dk, start(problem.dk, b, h, j))
        dkv!.set(dv, start(problem.dv, b, h, j))
      }
    }
  }
  return { dkv: dkv! }
}

/** Computes dq and delta, then dk and dv from them, into one buffer. */
export function gradientsReference(problem: GradientsProblem, arrays: Arrays): Arrays {
  const { gradients, statistics } = arrays as Record<string, Float64Array> & Arrays
  queryGradientReference(problem, { ...arrays, dq: gradients! })
  const behind = 64 * Math.ceil(statistics!.length / 128)
  const [lse, delta] = [statistics!, statistics!.subarray(behind)]
  keyValueGradientReference(problem, { ...arrays, lse, delta, dkv: gradients! })
  return { gradients: gradients!, statistics: statistics! }
}
