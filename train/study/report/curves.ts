import { mean } from '../statistics/index.ts'
import { armLines, drawnPrefixes, type Figure, finite, prefixColor, type Row } from './figure.ts'
import type { Point, Split } from './point.ts'
import { branchesOf, type Run } from './record.ts'

/** The horizontal axes of learning curves. */
const AXES = [
  { id: 'steps', title: 'mini-batches', of: (point: Point) => point.step as number | undefined },
  { id: 'flops', title: 'training FLOPs', of: (point: Point) => point.flops },
  { id: 'seconds', title: 'seconds of training', of: (point: Point) => point.seconds },
] as const

const MEASURES = [
  { field: 'accuracy', title: 'accuracy', format: '.0%' },
  { field: 'loss', title: 'loss', format: '~g' },
] as const

type Axis = (typeof AXES)[number]

const ONE_LEGEND = { scale: { color: 'shared', strokeDash: 'shared' } }

/**
 * Draws the learning curves of runs: every prefix, and the whole models beside each other, against steps, FLOPs and seconds.
 */
export function curveFigures(runs: readonly Run[]): Figure[] {
  const evaluated = evaluatedSplit(runs)
  const figures: Figure[] = []
  // Where models were evaluated while training, training itself is drawn once.
  const drawnAgainst = evaluated === undefined ? { train: AXES } : { [evaluated]: AXES, train: AXES.slice(0, 1) }
  for (const [split, axes] of Object.entries(drawnAgainst) as [Split, readonly Axis[]][]) {
    for (const axis of axes) {
      const drawn = runs.filter(({ points }) => points.some((point) => point.split === split && axis.of(point) !== undefined))
      if (drawn.length === 0) continue
      if (armsIn(drawn).length > 1) figures.push(wholeFigure(drawn, split, axis))
      figures.push(prefixFigure(drawn, split, axis))
    }
  }
  return figures
}

/** Returns the split that was evaluated more than once while training. */
function evaluatedSplit(runs: readonly Run[]): Split | undefined {
  return (['validation', 'test'] as const).find((split) =>
    runs.some(({ points }) => new Set(points.filter((point) => point.split === split).map(({ step }) => step)).size > 1),
  )
}

const armsIn = (runs: readonly Run[]) => [...new Set(runs.map(({ arm }) => arm))]
const nameOf = (split: Split) => ({ train: 'Training', validation: 'Validation', test: 'Test' })[split]

/** Returns the rows of all curves of a split. */
function rowsOf(runs: readonly Run[], split: Split, axis: Axis, takes: (run: Run, prefix: number) => boolean): Row[] {
  return runs.flatMap((run, i) =>
    run.points
      .filter((point) => point.split === split && takes(run, point.prefix))
      .map((point) => ({
        arm: run.arm,
        run: i,
        prefix: point.prefix,
        x: finite(axis.of(point)),
        loss: finite(point.loss),
        accuracy: finite(point.accuracy),
      })),
  )
}

function wholeFigure(runs: readonly Run[], split: Split, axis: Axis): Figure {
  const arms = armsIn(runs)
  const values = rowsOf(runs, split, axis, (run, prefix) => prefix === branchesOf(run))
  return {
    title: `${nameOf(split)}: whole models against ${axis.title}`,
    description: `Accuracy and loss of the whole model of each arm against ${axis.title}, one line for each seed.`,
    spec: {
      data: { values },
      resolve: ONE_LEGEND,
      hconcat: MEASURES.map((measure) => ({
        width: 400,
        height: 260,
        mark: { type: 'line', interpolate: 'linear', point: { size: 18 }, strokeWidth: 1.6 },
        encoding: {
          x: xOf(axis),
          y: yOf(measure),
          ...armLines(arms),
          detail: { field: 'run' },
        },
      })),
    },
    table: endTable(runs, split, true),
  }
}

function prefixFigure(runs: readonly Run[], split: Split, axis: Axis): Figure {
  const arms = armsIn(runs)
  const prefixes = drawnPrefixes(Math.max(...runs.map(branchesOf)))
  const values = rowsOf(runs, split, axis, (run, prefix) => prefixes.includes(prefix) || prefix === branchesOf(run))
  const alone = arms.length === 1
  const panel = (measure: (typeof MEASURES)[number]) => ({
    mark: { type: 'line', point: { size: 14 }, strokeWidth: 1.4 },
    width: alone ? 400 : 230,
    height: alone ? 260 : 170,
    encoding: {
      x: xOf(axis),
      y: yOf(measure),
      color: prefixColor([...new Set([...prefixes, ...runs.map(branchesOf)])].sort((a, b) => a - b)),
      detail: { field: 'run' },
    },
  })
  const faceted = (measure: (typeof MEASURES)[number]) => ({
    facet: { field: 'arm', type: 'nominal', title: null, sort: arms },
    columns: 4,
    spec: panel(measure),
  })
  return {
    title: `${nameOf(split)}: prefixes against ${axis.title}`,
    description: `Accuracy and loss of each prefix${alone ? '' : ', one panel for each arm'}, against ${axis.title}. Every seed is a line.`,
    spec: {
      data: { values },
      resolve: ONE_LEGEND,
      ...(alone ? { hconcat: MEASURES.map(panel) } : { vconcat: MEASURES.map(faceted) }),
    },
    table: endTable(runs, split, false),
  }
}

function xOf({ id, title }: Axis) {
  return {
    field: 'x',
    type: 'quantitative',
    title,
    axis: { format: id === 'seconds' ? '~g' : '~s', tickCount: 4, ...(id === 'steps' && { tickMinStep: 1 }) },
  }
}

function yOf({ field, title, format }: (typeof MEASURES)[number]) {
  return { field, type: 'quantitative', title, scale: { zero: false }, axis: { format } }
}

/** Makes a table of the first and last values of the curves, as means over the runs of an arm. */
function endTable(runs: readonly Run[], split: Split, whole: boolean) {
  const rows: (string | number)[][] = []
  for (const arm of armsIn(runs)) {
    const own = runs.filter((run) => run.arm === arm)
    const branches = Math.max(...own.map(branchesOf))
    for (let prefix = whole ? branches : 1; prefix <= branches; prefix++) {
      const curves = own
        .map(({ points }) => points.filter((point) => point.split === split && point.prefix === prefix))
        .filter((curve) => curve.length > 0)
      if (curves.length === 0) continue
      const over = (value: (curve: Point[]) => number) => {
        const values = curves.map(value)
        return values.every(Number.isFinite) ? mean(values) : Number.NaN
      }
      rows.push([
        arm,
        prefix,
        curves.length,
        over((curve) => curve[0]!.loss),
        over((curve) => curve.at(-1)!.loss),
        over((curve) => curve[0]!.accuracy),
        over((curve) => curve.at(-1)!.accuracy),
      ])
    }
  }
  return { columns: ['arm', 'prefix', 'runs', 'first loss', 'last loss', 'first accuracy', 'last accuracy'], rows }
}
