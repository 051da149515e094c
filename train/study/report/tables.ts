import { type AcrossDatasets, type ArmSummary, armsOf } from './arms.ts'
import type { Claim } from './claims.ts'
import { prefixCosts } from './costs.ts'
import { type Table, tableOf } from './data.ts'
import { finalScores, type Run } from './record.ts'

/** Makes a table that says for each run where, with what and at what cost it ran. */
export function provenance(runs: readonly Run[]): Table {
  const columns = [
    ...['arm', 'seed', 'parameters', 'optimizer steps', 'images', 'training FLOPs', 'cold s', 'warm s', 'wall s'],
    ...['peak bytes', 'tuning trials', 'commit', 'clean', 'adapter', 'driver'],
  ]
  return {
    columns,
    rows: runs.map(({ arm, seed, result }) => [
      arm,
      seed,
      result.parameters,
      result.optimizerSteps,
      result.images,
      result.trainingFlops,
      result.coldSeconds,
      result.warmSeconds,
      result.wallSeconds,
      result.peakBytes,
      result.trials,
      result.commit?.slice(0, 12),
      result.clean,
      result.adapter,
      result.driver,
    ]),
  }
}

/** Makes a table of the arms in numbers. */
export function armTable(summaries: readonly ArmSummary[], metric: string, descriptions: ReadonlyMap<string, string>): Table {
  return {
    columns: ['arm', 'runs', 'diverged', `mean ${metric}`, 'low', 'high', 'sampling error ±', 'description'],
    rows: summaries.map((summary) => [
      summary.arm,
      summary.runs.length,
      summary.diverged,
      summary.mean,
      summary.low,
      summary.high,
      summary.sampling,
      descriptions.get(summary.arm),
    ]),
  }
}

/** Makes a table of arms over several data sets. */
export function acrossTable(found: readonly AcrossDatasets[]): Table {
  return {
    columns: ['study', 'arm', 'data sets', 'runs', 'interquartile mean of test accuracy'],
    rows: found.map((row) => [row.study, row.arm, row.datasets.join(', '), row.runs, row.interquartileMean]),
  }
}

/** Makes a table of the settings in which the arms of runs differ, or of all settings of a single arm. */
export function settingsTable(runs: readonly Run[]): Table {
  const firsts = armsOf(runs).map((group) => group[0]!)
  const names = [...new Set(firsts.flatMap(({ settings }) => Object.keys(settings)))].filter((name) => name !== 'seed')
  const text = (run: Run, name: string) => {
    const value = run.settings[name]
    if (value === undefined || value === null) return undefined
    return typeof value === 'object' ? JSON.stringify(value) : String(value)
  }
  const differing = names.filter((name) => new Set(firsts.map((run) => text(run, name))).size > 1)
  const shown = firsts.length === 1 ? names : differing
  return {
    columns: ['setting', ...firsts.map(({ arm }) => arm)],
    rows: shown.map((name) => [name, ...firsts.map((run) => text(run, name))]),
  }
}

/** A group of runs with the claims that they decide. */
export interface Decided {
  title: string
  runs: readonly Run[]
  claims: readonly Claim[]
}

/** Returns everything that the report shows, as tables by the names of their files. */
export function dataTables(groups: readonly Decided[]): Record<string, Table> {
  const of = ({ study, arm, seed }: Run) => ({ study: study ?? '', arm, seed })
  const runs = groups.flatMap((group) => group.runs)
  return {
    claims: tableOf(
      [
        'study',
        'claim',
        'later',
        'arm',
        'other',
        'better',
        'metric',
        'otherMetric',
        'margin',
        'seeds',
        'mean',
        'low',
        'high',
        'tLow',
        'tHigh',
        'p',
        'verdict',
        'reason',
      ],
      groups.flatMap(({ title, claims }) =>
        claims.flatMap(({ claim, later, comparisons }) =>
          comparisons.map(({ rule, metrics, seeds, difference, p, verdict, reason }) => ({
            ...{ study: title, claim, later, arm: rule.compare[0], other: rule.compare[1], better: rule.better },
            ...{ metric: metrics[0], otherMetric: metrics[1] },
            ...{ margin: rule.margin ?? 0, seeds: seeds.join(' '), mean: difference?.mean, low: difference?.low },
            ...{ high: difference?.high, tLow: difference?.t.low, tHigh: difference?.t.high, p, verdict, reason },
          })),
        ),
      ),
    ),
    runs: tableOf(
      [
        'study',
        'arm',
        'seed',
        'dataset',
        'parameters',
        'optimizerSteps',
        'images',
        'trainingFlops',
        'wallSeconds',
        'diverged',
        'testLoss',
        'testAccuracy',
        'validationLoss',
        'validationAccuracy',
        'commit',
        'adapter',
        'driver',
        'settings',
      ],
      runs.map((run) => {
        const [test, validation] = [finalScores(run, 'test'), finalScores(run, 'validation')]
        const { parameters, optimizerSteps, images, trainingFlops, wallSeconds, commit, adapter, driver, diverged } = run.result
        return {
          ...{ ...of(run), dataset: run.dataset, parameters, optimizerSteps, images, trainingFlops, wallSeconds, diverged },
          ...{ testLoss: test?.loss.at(-1), testAccuracy: test?.accuracy.at(-1), validationLoss: validation?.loss.at(-1) },
          ...{
            validationAccuracy: validation?.accuracy.at(-1),
            commit,
            adapter,
            driver,
            settings: JSON.stringify(run.settings),
          },
        }
      }),
    ),
    prefixes: tableOf(
      ['study', 'arm', 'seed', 'split', 'prefix', 'parameters', 'flops', 'loss', 'accuracy'],
      runs.flatMap((run) => prefixCosts(run).map(({ run: _, ...cost }) => ({ ...of(run), ...cost }))),
    ),
    curves: tableOf(
      ['study', 'arm', 'seed', 'split', 'prefix', 'epoch', 'step', 'seconds', 'flops', 'loss', 'accuracy'],
      runs.flatMap((run) => run.points.map((point) => ({ ...of(run), ...point }))),
    ),
    compression: tableOf(
      [
        'study',
        'arm',
        'seed',
        'prefix',
        'threshold',
        'parameters',
        'flops',
        'branches',
        'validation',
        'test',
        'latencyMs',
        'chosen',
      ],
      runs.flatMap((run) => [
        ...(run.compression?.prefixes ?? []).map(({ prefix, parameters, flops, validation, test, latencyMs }) => ({
          ...{ ...of(run), prefix, parameters, flops, branches: prefix, validation, test },
          ...{ latencyMs: JSON.stringify(latencyMs), chosen: prefix === run.compression!.chosen },
        })),
        ...(run.compression?.exits ?? []).map(({ accuracy, ...exit }) => ({ ...of(run), ...exit, test: accuracy })),
      ]),
    ),
    expansion: tableOf(
      [
        'study',
        'arm',
        'seed',
        'way',
        'tasks',
        'branches',
        'parameters',
        'old',
        'new',
        'forgetting',
        'optimizerSteps',
        'seconds',
      ],
      runs.flatMap((run) =>
        (run.expansion?.arms ?? []).flatMap(({ arm, stages }) => stages.map((stage) => ({ ...of(run), way: arm, ...stage }))),
      ),
    ),
  }
}
