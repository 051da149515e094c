import { shapesOf } from '../fill.ts'
import type { Fill, KernelCase } from '../spec.ts'
import {
  type CrossEntropyBackwardProblem,
  type CrossEntropyGradientProblem,
  type CrossEntropyProblem,
  NAN_BITS,
} from './crossEntropy.ts'

const SHAPES = shapesOf<[rows: number, classes: number]>(
  '1x1 7x1 31x7 33x10 600x31 1025x4 129x33 9x100 5x129 3x257 7x1025 2x1028 1x5000',
)

function labelsBelow(classes: number): Fill {
  return (_, random) => Math.floor(random() * classes)
}

/** Logits of up to ±1e4. Rows are in turn of three kinds: one class far ahead, all equal, and uniform. */
function extreme(classes: number): Fill {
  return (index, random) => {
    const row = Math.floor(index / classes) % 3
    if (row === 0) return index % classes === 2 ? 1e4 : -1e4
    if (row === 1) return 1e4
    return 2e4 * random() - 1e4
  }
}

function forward(rows: number, classes: number, logits: Fill, name: string, labelRows = rows): KernelCase<CrossEntropyProblem> {
  return {
    name,
    problem: { rows, classes, nan: NAN_BITS, labelRows },
    sizes: { logits: rows * classes, labels: labelRows, losses: rows, statistics: 2 * rows },
    fills: { logits, labels: labelsBelow(classes) },
  }
}

type Options = Pick<CrossEntropyProblem, 'smoothing' | 'ignored'>

const OPTIONS: readonly [rows: number, classes: number, options: Options][] = [
  [33, 10, { smoothing: 0.1 }],
  [9, 100, { ignored: 2 }],
  [3, 257, { smoothing: 0.3, ignored: -100 }],
  [2, 1028, { smoothing: 0.3, ignored: -100 }],
]

/** The case with options. Of three rows the second is ignored, if any is. */
function withOptions<P extends CrossEntropyProblem>(kase: KernelCase<P>, options: Options): KernelCase<P> {
  const { ignored } = options
  const label = labelsBelow(kase.problem.classes) as (i: number, random: () => number) => number
  const labels: Fill = (i, random) => (i % 3 === 1 && ignored !== undefined ? ignored : label(i, random))
  const fills = { ...kase.fills, labels }
  return { ...kase, name: `${kase.name} ${JSON.stringify(options)}`, problem: { ...kase.problem, ...options }, fills }
}

export const countedRowsCases: readonly KernelCase<{ rows: number; ignored: number }>[] = [1, 7, 129].map((rows) => ({
  name: `${rows} rows`,
  problem: { rows, ignored: -100 },
  sizes: { labels: rows, counted: rows },
  fills: { labels: (i) => (i % 3 === 0 ? -100 : i) },
}))

export const crossEntropyCases: readonly KernelCase<CrossEntropyProblem>[] = [
  ...SHAPES.map(([rows, classes]) => forward(rows, classes, 'normal', `[${rows}, ${classes}]`)),
  forward(9, 31, extreme(31), 'logits of 1e4'),
  forward(9, 64, extreme(64), 'logits of 1e4, vec4'),
  ...OPTIONS.map(([rows, classes, options]) => withOptions(forward(rows, classes, 'normal', `[${rows}, ${classes}]`), options)),
  forward(33, 10, 'normal', '[33, 10] 11 labels', 11),
  forward(6, 1028, 'normal', '[6, 1028] 2 labels', 2),
  { ...forward(4096, 1000, 'normal', 'bench [4096, 1000]'), bench: true },
]

function backward(
  rows: number,
  classes: number,
  gradientRows: number,
  labelRows = rows,
): KernelCase<CrossEntropyBackwardProblem> {
  const gradients = Math.ceil(rows / gradientRows)
  return {
    name: `[${rows}, ${classes}] ${gradients} gradients, ${labelRows} labels`,
    problem: { rows, classes, nan: NAN_BITS, labelRows, gradientRows, scale: 1 / gradientRows },
    sizes: {
      logits: rows * classes,
      labels: labelRows,
      statistics: 2 * rows,
      gradient: gradients,
      dlogits: rows * classes,
    },
    fills: { labels: labelsBelow(classes), statistics: (index, random) => (index % 2 === 0 ? 1 : 5) + random() },
  }
}

export const crossEntropyBackwardCases: readonly KernelCase<CrossEntropyBackwardProblem>[] = [
  ...SHAPES.map(([rows, classes]) => backward(rows, classes, 1)),
  backward(33, 10, 33),
  backward(33, 10, 11, 11),
  backward(129, 100, 129),
  backward(128, 100, 16, 8),
  ...OPTIONS.map(([rows, classes, options]) => withOptions(backward(rows, classes, 1), options)),
  { ...backward(4096, 1000, 4096), name: 'bench [4096, 1000]', bench: true },
]

/** The case of the losses, with the gradient of `scale` for each. */
function withGradient(kase: KernelCase<CrossEntropyProblem>, scale: number): KernelCase<CrossEntropyGradientProblem> {
  const { statistics: _, ...sizes } = kase.sizes
  return { ...kase, problem: { ...kase.problem, scale }, sizes: { ...sizes, dlogits: sizes.logits! } }
}

export const crossEntropyGradientCases: readonly KernelCase<CrossEntropyGradientProblem>[] = crossEntropyCases.map((kase, i) =>
  withGradient(kase, i % 2 === 0 ? 1 : 1 / kase.problem.rows),
)
