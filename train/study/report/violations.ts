import { violations } from '../../evaluate.ts'
import { armColor, armLines, type Figure } from './figure.ts'
import type { Run } from './record.ts'

/** Draws the counts of prefixes whose loss is above that of the prefix before, over the evaluations of each run. */
export function violationFigure(runs: readonly Run[]): Figure | undefined {
  const values = runs.flatMap((run, i) => violationsOf(run).map((row) => ({ arm: run.arm, run: i, ...row })))
  if (values.length === 0) return undefined
  const arms = [...new Set(values.map(({ arm }) => arm))]
  const overTime = new Set(values.map(({ run }) => run)).size < values.length
  const count = { field: 'violations', type: 'quantitative', title: 'violations', axis: { tickMinStep: 1, format: 'd' } }
  return {
    title: 'Violations of progressive approximation',
    description: `How many prefixes have a higher loss than the prefix before, ${overTime ? 'at each evaluation' : 'at the end of each run'}; progressive approximation has none.`,
    spec: {
      data: { values },
      width: 760,
      ...(overTime
        ? {
            height: 220,
            mark: { type: 'line', point: { size: 30 }, strokeWidth: 1.6 },
            encoding: {
              x: {
                field: 'step',
                type: 'quantitative',
                title: 'mini-batches',
                axis: { format: '~s', tickMinStep: 1, tickCount: 8 },
              },
              y: count,
              ...armLines(arms),
              detail: { field: 'run' },
            },
          }
        : {
            height: { step: 30 },
            mark: { type: 'point', size: 50, strokeWidth: 1.6 },
            encoding: {
              x: { ...count, scale: { domainMin: 0 } },
              y: { field: 'arm', type: 'nominal', title: null, sort: arms },
              color: { ...armColor(arms), legend: null },
            },
          }),
    },
    table: {
      columns: ['arm', 'seed', 'evaluations', 'with violations', 'violations at the end'],
      rows: runs.flatMap((run) => {
        const found = violationsOf(run)
        if (found.length === 0) return []
        return [
          [run.arm, run.seed, found.length, found.filter(({ violations }) => violations > 0).length, found.at(-1)!.violations],
        ]
      }),
    },
  }
}

/** Counts the violations at each evaluation of a run, or at its end alone; none for a model of one branch. */
function violationsOf({ points, result }: Run): { step: number; violations: number }[] {
  const evaluations = new Map<string, { step: number; losses: number[] }>()
  for (const { split, step, prefix, loss } of points) {
    if (split === 'train') continue
    const key = `${split} ${step}`
    const found = evaluations.get(key) ?? { step, losses: [] }
    found.losses[prefix - 1] = loss
    evaluations.set(key, found)
  }
  const end = result.final?.test ?? result.final?.validation
  if (evaluations.size === 0 && end && result.diverged === undefined)
    evaluations.set('end', { step: result.optimizerSteps ?? 0, losses: end.loss })
  return [...evaluations.values()]
    .filter(({ losses }) => losses.length > 1)
    .map(({ step, losses }) => ({ step, violations: violations(losses) }))
}
