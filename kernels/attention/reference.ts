import type { Arrays } from '../spec.ts'
import type { AttentionProblem, KeyValueGradientProblem, QueryGradientProblem } from './attention.ts'
import type { AttentionShape, RowView } from './variants.ts'

/** Returns the index of the first element of a row. */
function start([offset, batch, head, token]: RowView, b: number, h: number, t: number): number {
  return offset + b * batch + h * head + t * token
}

function dot(a: Float64Array, aStart: number, b: Float64Array, bStart: number, width: number): number {
  let sum = 0
  for (let d = 0; d < width; d++) sum += a[aStart + d]! * b[bStart + d]!
  return sum
}

/** Calls `body` for each query of each head, with the query's index in a [B, H, Tq] array. */
function eachQuery({ batch, heads, queries }: AttentionShape, body: (b: number, h: number, t: number, at: number) => void) {
  for (let b = 0; b < batch; b++) {
    for (let h = 0; h < heads; h++) {
      for (let t = 0; t < queries; t++) body(b, h, t, (b * heads + h) * queries + t)
    }
  }
}

/** Computes the textbook formula: all scores of a row, their maximum, the exponentials, the weighted sum of the values. */
export function attentionReference(problem: AttentionProblem, arrays: Arrays): Arrays {
  const { q, k, v, out, lse } = arrays as Record<string, Float64Array> & Arrays
  const { keys, width, scale } = problem
  eachQuery(problem, (b, h, t, at) => {
    const qRow = start(problem.q, b, h, t)
    const scores = new Float64Array(keys)
    for (let j = 0; j < keys; j++) scores[j] = scale * dot(q!, qRow, k!, start(problem.k, b, h, j), width)
    const top = scores.reduce((a, b) => Math.max(a, b))
    const exps = scores.map((score) => Math.exp(score - top))
    const total = exps.reduce((sum, e) => sum + e, 0)
    lse![at] = top + Math.log(total)
    const sums = new Float64Array(width)
    for (let j = 0; j < keys; j++) {
      const vRow = start(problem.v, b, h, j)
      for (let d = 0; d < width; d++) sums[d]! += exps[j]! * v![vRow + d]!
    }
    const outRow = start(problem.out, b, h, t)
    for (let d = 0; d < width; d++) out![outRow + d] = sums[d]! / total
  })
  return { out: out!, lse: lse! }
}

/** Computes delta = rowsum(dOut * out), ds = p (dOut v^T - delta) and dq = scale ds k. */
export function queryGradientReference(problem: QueryGradientProblem, arrays: Arrays): Arrays {
  const { q, k, v, out, dOut, lse, dq, delta } = arrays as Record<string, Float64Array> & Arrays
  const { keys, width, scale } = problem
  eachQuery(problem, (b, h, t, at) => {
    const dOutRow = start(problem.dOut, b, h, t)
    delta![at] = dot(dOut!, dOutRow, out!, start(problem.out, b, h, t), width)
    const qRow = start(problem.q, b, h, t)
    const sums = new Float64Array(width)
    for (let j = 0; j < keys; j++) {
      const kRow = start(problem.k, b, h, j)
      const p = Math.exp(scale * dot(q!, qRow, k!, kRow, width) - lse![at]!)
      const ds = p * (dot(dOut!, dOutRow, v!, start(problem.v, b, h, j), width) - delta![at]!)
      for (let d = 0; d < width; d++) sums[d]! += scale * ds * k![kRow + d]!
    }
    dq!.set(sums, start(problem.dq, b, h, t))
  })
  return { dq: dq!, delta: delta! }
}

/** Computes dv = p^T dOut and dk = scale ds^T q. */
export function keyValueGradientReference(problem: KeyValueGradientProblem, arrays: Arrays): Arrays {
  const { q, k, v, dOut, lse, delta, dkv } = arrays as Record<string, Float64Array> & Arrays
  const { batch, heads, queries, keys, width, scale } = problem
  for (let b = 0; b < batch; b++) {
    for (let h = 0; h < heads; h++) {
      for (let j = 0; j < keys; j++) {
        const kRow = start(problem.k, b, h, j)
        const vRow = start(problem.v, b, h, j)
        const dk = new Float64Array(width)
        const dv = new Float64Array(width)
        for (let t = 0; t < queries; t++) {
          const at = (b * heads + h) * queries + t
          const qRow = start(problem.q, b, h, t)
          const dOutRow = start(problem.dOut, b, h, t)
          const p = Math.exp(scale * dot(q!, qRow, k!, kRow, width) - lse![at]!)
          const ds = p * (dot(dOut!, dOutRow, v!, vRow, width) - delta![at]!)
          for (let d = 0; d < width; d++) {
            dk[d]! += scale * ds * q![qRow + d]!
            dv[d]! += p * dOut![dOutRow + d]!
          }
        }
        dkv!.set(dk, start(problem.dk, b, h, j))
        dkv!.set(dv, start(problem.dv, b, h, j))
      }
    }
  }
  return { dkv: dkv! }
}
