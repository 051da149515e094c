import type { AttentionShape, RowView } from '../../kernels/attention/index.ts'
import { attentionReference, deltaStart, queryGradientReference } from '../../kernels/attention/reference.ts'
import type { Arrays } from '../../kernels/spec.ts'
import { INFINITY, NAN } from './specialValues.ts'

/** Number of tokens of a sequence, and of elements of a row. */
export const T = 35
export const W = 7

export type Operand = 'q' | 'k' | 'v' | 'dOut'
/** Changes the operands of one sequence. @param row gives the row of a token, to be changed in place */
export type Scenario = (row: (operand: Operand, token: number) => Float64Array) => void

/** A scenario with one score for each key, which comes from the first elements of queries and keys. */
export function scores(of: (key: number) => number): Scenario {
  return (row) => {
    for (let t = 0; t < T; t++) {
      row('q', t).fill(0)[0] = 1
      row('k', t).fill(0.5)[0] = of(t)
    }
  }
}

/** Special values at first, middle and last tokens and elements, and rows of special scores. */
export const SCENARIOS: readonly Scenario[] = [
  () => {},
  ...(['q', 'k', 'v', 'dOut'] as const).flatMap((operand) =>
    [0, 17, T - 1].flatMap((token) =>
      [0, W - 1].map(
        (d): Scenario =>
          (row) => {
            row(operand, token)[d] = NAN
          },
      ),
    ),
  ),
  ...[0, 3, T - 1].flatMap((token) =>
    [INFINITY, -INFINITY].flatMap((value): Scenario[] => [
      (row) => {
        row('q', token)[2] = value
      },
      (row) => {
        row('k', token)[2] = value
      },
    ]),
  ),
  // All scores are equal and far from 0.
  scores(() => -1000),
  // Keys with a score of -Infinity have no weight.
  scores(() => -INFINITY),
  scores((key) => (key < 17 ? -INFINITY : key / 8)),
  scores((key) => (key < T - 1 ? -INFINITY : 1)),
  scores((key) => (key === T - 1 ? -INFINITY : key / 8)),
  scores((key) => (key === T - 1 ? INFINITY : key / 8)),
  scores((key) => (key === 5 ? NAN : -INFINITY)),
]

/** The problem that all kernels share, and the operands of the scenarios, each of which is a sequence. */
export function sequences(scenarios: readonly Scenario[], width = W) {
  const shape: AttentionShape = { batch: scenarios.length, heads: 1, queries: T, keys: T, width, scale: 1 }
  const view: RowView = [0, T * width, T * width, width]
  const size = scenarios.length * T * width
  const behind: RowView = [size, T * width, T * width, width]
  const problem = { ...shape, ...{ q: view, k: view, v: view, out: view, dOut: view, dq: view, dk: view, dv: behind } }
  const operand = (seed: number) => Float64Array.from({ length: size }, (_, i) => (((i + seed) * 7919) % 23) / 8 - 1.375)
  const operands = { q: operand(0), k: operand(5), v: operand(9), dOut: operand(14) }
  for (const [s, scenario] of scenarios.entries()) {
    scenario((name, token) => operands[name].subarray((s * T + token) * width, (s * T + token + 1) * width))
  }
  for (const values of Object.values(operands)) values.set(Float32Array.from(values))
  return { problem, size, rows: scenarios.length * T, operands }
}

/** The operands of the backward kernels for SCENARIOS. */
export function backward(width: number) {
  const { problem, size, rows, operands } = sequences(SCENARIOS, width)
  const saved = { out: new Float64Array(size), lse: new Float64Array(rows) }
  const arrays: Arrays = { ...operands, ...saved, statistics: new Float64Array(deltaStart(problem) + rows) }
  arrays.dq = new Float64Array(size)
  attentionReference(problem, arrays)
  arrays.statistics!.set(saved.lse)
  const ofQueries = { ...operands, out: saved.out, statistics: arrays.statistics!.slice(), mask: [0] }
  queryGradientReference(problem, arrays)
  return { problem, size, operands, ofQueries, lse: saved.lse, delta: arrays.statistics!.slice(deltaStart(problem)) }
}
