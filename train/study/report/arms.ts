import { interquartileMean, mean, samplingError, tInterval } from '../statistics/index.ts'
import { metricOfRun, type Run } from './record.ts'
import type { StudyRecord } from './studyFolder.ts'

/** The runs of an arm in numbers. */
export interface ArmSummary {
  study: string | undefined
  arm: string
  runs: readonly Run[]
  /** Runs that diverged. Where there are any, the arm has no mean. */
  diverged: number
  /** The metric at each seed, in the order of `runs`, without runs that lack it; NaN for one that diverged. */
  values: number[]
  mean: number | undefined
  /** Ends of Student's t interval over the seeds. */
  low: number | undefined
  high: number | undefined
  /** Half of the interval that comes from the number of test images alone, where the metric is a test accuracy. */
  sampling: number | undefined
}

/** Groups runs by study and arm, in the order in which they come. */
export function armsOf(runs: readonly Run[]): Run[][] {
  const groups = new Map<string, Run[]>()
  for (const run of runs) {
    const key = JSON.stringify([run.study, run.arm])
    const group = groups.get(key)
    if (group) group.push(run)
    else groups.set(key, [run])
  }
  return [...groups.values()]
}

/** Sums up the runs of an arm. */
export function summarize(runs: readonly Run[], metric: string): ArmSummary {
  const { study, arm, testImages } = runs[0]!
  const values = runs.map((run) => metricOfRun(run, metric)).filter((value) => value !== undefined)
  const finite = values.length > 0 && values.every(Number.isFinite)
  const center = finite ? mean(values) : undefined
  const interval = finite && values.length > 1 ? tInterval(values) : undefined
  const sampled = metric === 'testAccuracy' && center !== undefined && testImages !== undefined
  return {
    study,
    arm,
    runs,
    diverged: runs.filter(({ result }) => result.diverged !== undefined).length,
    values,
    mean: center,
    low: interval?.low,
    high: interval?.high,
    sampling: sampled ? samplingError(center, testImages) : undefined,
  }
}

/** An arm over several data sets. */
export interface AcrossDatasets {
  study: string
  arm: string
  datasets: string[]
  runs: number
  /** Undefined where a run ended in a number that is not finite. */
  interquartileMean: number | undefined
}

/**
 * Computes the interquartile mean of the test accuracy of every arm that has runs on several data sets, over all its runs.
 * @param studies a study at several presets counts as one, by its id
 */
export function acrossDatasets(studies: readonly Pick<StudyRecord, 'title' | 'statement' | 'runs'>[]): AcrossDatasets[] {
  const arms = new Map<string, { study: string; arm: string; dataset: string; value: number }[]>()
  for (const { title, statement, runs } of studies) {
    const study = statement.id ?? title
    for (const run of runs) {
      const { arm, dataset } = run
      const value = metricOfRun(run, 'testAccuracy')
      if (dataset === undefined || value === undefined) continue
      const key = JSON.stringify([study, arm])
      arms.set(key, [...(arms.get(key) ?? []), { study, arm, dataset, value }])
    }
  }
  return [...arms.values()].flatMap((found) => {
    const { study, arm } = found[0]!
    const datasets = [...new Set(found.map(({ dataset }) => dataset))]
    if (datasets.length < 2) return []
    const values = found.map(({ value }) => value)
    return [
      {
        study,
        arm,
        datasets,
        runs: found.length,
        interquartileMean: values.every(Number.isFinite) ? interquartileMean(values) : undefined,
      },
    ]
  })
}
