import { countFlops, countParameters } from '../../../model/index.ts'
import { mean } from '../statistics/index.ts'
import { barsOf } from './bars.ts'
import { armColor, armShape, type Figure, logDomain, type Row } from './figure.ts'
import { branchesOf, finalScores, type Run } from './record.ts'

const WIDTH = 620

/** A prefix of a run at its end, with what it costs. */
export interface PrefixCost {
  run: Run
  prefix: number
  split: 'test' | 'validation'
  loss: number
  accuracy: number
  parameters: number | undefined
  /** FLOPs of one image. */
  flops: number | undefined
}

/** Returns every prefix of a run at its end; on validation images where there are no test images. */
export function prefixCosts(run: Run): PrefixCost[] {
  const split = finalScores(run, 'test') ? 'test' : 'validation'
  const scores = finalScores(run, split)
  const all = branchesOf(run)
  return (scores?.accuracy ?? []).map((accuracy, k) => {
    const prefix = k + 1
    const counted = run.config && prefix <= all ? { branches: prefix } : undefined
    const whole = prefix === scores!.accuracy.length ? run.result.parameters : undefined
    return {
      run,
      prefix,
      split,
      loss: scores!.loss[k] ?? Number.NaN,
      accuracy,
      parameters: whole ?? (counted && countParameters(run.config!, counted).total),
      flops: counted && countFlops(run.config!, counted).forward,
    }
  })
}

/**
 * Draws accuracy over parameters, over FLOPs of an image, and over training FLOPs, for each data set, with published accuracies
 * as lines.
 */
export function costFigures(runs: readonly Run[]): Figure[] {
  const costs = runs.flatMap(prefixCosts)
  return [...new Set(costs.map(({ run }) => run.dataset))].flatMap((dataset) => {
    const here = costs.filter(({ run, accuracy }) => run.dataset === dataset && Number.isFinite(accuracy))
    const whole = here.filter(({ run, prefix }) => prefix === branchesOf(run))
    return [
      costFigure('parameters', 'Every prefix is a point', here, dataset, ({ parameters }) => parameters),
      costFigure('FLOPs of an image', 'Every prefix is a point', here, dataset, ({ flops }) => flops),
      costFigure(
        'training FLOPs',
        'Every whole model is a point',
        whole,
        dataset,
        ({ run }) => run.result.trainingFlops ?? run.points.findLast(({ flops }) => flops !== undefined)?.flops,
      ),
    ].filter((figure) => figure !== undefined)
  })
}

function costFigure(
  axis: string,
  points: string,
  costs: readonly PrefixCost[],
  dataset: string | undefined,
  costOf: (cost: PrefixCost) => number | undefined,
): Figure | undefined {
  const values: Row[] = costs.flatMap((cost) => {
    const x = costOf(cost)
    if (x === undefined || !(x > 0)) return []
    const { run, prefix, accuracy } = cost
    return [{ arm: run.arm, seed: run.seed ?? 0, prefix, x, accuracy }]
  })
  if (values.length === 0) return undefined
  const arms = [...new Set(values.map(({ arm }) => String(arm)))]
  const bars = dataset === undefined ? [] : barsOf(dataset)
  const accuracies = [...values.map(({ accuracy }) => Number(accuracy)), ...bars.map(({ accuracy }) => accuracy)]
  const domain = [Math.min(...accuracies) - 0.01, Math.max(...accuracies) + 0.01] as const
  const x = { field: 'x', type: 'quantitative', title: axis, axis: { format: '~s', tickCount: 6 } }
  const xScale = { type: 'log', domain: logDomain(values.map((row) => Number(row.x))), nice: false }
  const y = {
    field: 'accuracy',
    type: 'quantitative',
    title: 'accuracy',
    scale: { domain, nice: true, zero: false },
    axis: { format: '.0%' },
  }
  const where = dataset === undefined ? '' : ` on ${dataset}`
  return {
    title: `Accuracy over ${axis}${where}`,
    description:
      `${points}, at every seed; lines join the means of an arm. ` +
      (bars.length > 0
        ? 'Horizontal lines are accuracies from scratch that others published, at their own sizes and recipes.'
        : 'No published accuracies are known for this data set.'),
    spec: {
      width: WIDTH,
      height: 400,
      layer: [
        ...barLayers(bars, domain),
        {
          data: { values: meansOf(values) },
          mark: { type: 'line', strokeWidth: 1.5 },
          encoding: { x: { ...x, scale: xScale }, y, color: armColor(arms), detail: { field: 'arm' } },
        },
        {
          data: { values },
          mark: { type: 'point', size: 45, filled: false, strokeWidth: 1.6 },
          encoding: { x: { ...x, scale: xScale }, y, color: armColor(arms), shape: armShape(arms) },
        },
      ],
    },
    table: {
      columns: ['arm', 'seed', 'prefix', axis, 'accuracy'],
      rows: [
        ...values.map((row) => [row.arm, row.seed, row.prefix, row.x, row.accuracy]),
        ...bars.map((bar) => [`published: ${bar.label} (${bar.source})`, undefined, undefined, undefined, bar.accuracy]),
      ],
    },
  }
}

/** Makes the lines of published accuracies, with their labels on the right, moved apart where they would overlap. */
function barLayers(bars: readonly { label: string; accuracy: number }[], domain: readonly [number, number]): object[] {
  if (bars.length === 0) return []
  const gap = (domain[1] - domain[0]) / 24
  let last = Number.NEGATIVE_INFINITY
  const values = bars
    .toSorted((a, b) => a.accuracy - b.accuracy)
    .map(({ label, accuracy }) => {
      last = Math.max(accuracy, last + gap)
      return { bar: `${label}: ${(100 * accuracy).toFixed(1)} %`, accuracy, at: last }
    })
  const y = { field: 'accuracy', type: 'quantitative', title: 'accuracy' }
  return [
    { data: { values }, mark: { type: 'rule', strokeDash: [4, 4], strokeWidth: 1, color: 'var(--muted)' }, encoding: { y } },
    {
      data: { values },
      mark: { type: 'text', align: 'left', baseline: 'middle', dx: 6, fontSize: 11, color: 'var(--muted)' },
      encoding: { x: { value: WIDTH }, y: { ...y, field: 'at' }, text: { field: 'bar' } },
    },
  ]
}

/** Returns the means of the seeds of each arm and prefix. */
function meansOf(values: readonly Row[]): Row[] {
  const groups = new Map<string, Row[]>()
  for (const row of values) {
    const key = JSON.stringify([row.arm, row.prefix])
    groups.set(key, [...(groups.get(key) ?? []), row])
  }
  return [...groups.values()].map((group) => ({
    arm: group[0]!.arm!,
    x: mean(group.map((row) => Number(row.x))),
    accuracy: mean(group.map((row) => Number(row.accuracy))),
  }))
}
