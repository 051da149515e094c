import { BENCH, named, positive, ROWS, xSize } from '../layerNorm/cases.ts'
import type { Rows } from '../rows.ts'
import type { Fill, KernelCase } from '../spec.ts'
import type { RmsNormBackwardProblem, RmsNormProblem } from './rmsNorm.ts'

function forward(rows: Rows, name = named(rows), x: Fill = 'normal'): KernelCase<RmsNormProblem> {
  return {
    name,
    problem: { ...rows, eps: 1e-6 },
    sizes: { x: xSize(rows), weight: rows.n, y: rows.rows * rows.n, rstd: rows.rows },
    fills: { x },
  }
}

const SMALL: Rows = { rows: 33, n: 257, xOffset: 0, xStride: 257 }

export const rmsNormCases: readonly KernelCase<RmsNormProblem>[] = [
  ...ROWS.map((rows) => forward(rows)),
  forward(SMALL, 'elements near eps', (_, random) => 2e-3 * (random() - 0.5)),
  forward(SMALL, 'rows of zeros', () => 0),
  { ...forward(BENCH), bench: true },
]

function backward(rows: Rows, terms: boolean): KernelCase<RmsNormBackwardProblem> {
  const size = rows.rows * rows.n
  return {
    name: `${named(rows)}${terms ? '' : ' without terms'}`,
    problem: { ...rows, terms },
    sizes: { x: xSize(rows), weight: rows.n, rstd: rows.rows, dy: size, dx: size, terms: terms ? size : 1 },
    fills: { rstd: positive },
  }
}

export const rmsNormBackwardCases: readonly KernelCase<RmsNormBackwardProblem>[] = [
  ...ROWS.map((rows) => backward(rows, true)),
  ...ROWS.slice(-4).map((rows) => backward(rows, false)),
  { ...backward(BENCH, true), bench: true },
]
