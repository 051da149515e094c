import type { PlannedRun } from '../plan/plan.ts'
import type { Result } from '../results/results.ts'
import type { Check } from './check.ts'
import { paceOf } from './checks.ts'

/** Measurements from which the time of a run is expected. */
export interface Measured {
  results: readonly Pick<Result, 'arm' | 'wallSeconds' | 'trainingFlops'>[]
  checks: readonly Check[]
}

/**
 * Makes the function that expects the seconds of a run: from finished runs of the arm, else from its short runs, else from the
 * work of other arms.
 */
export function expectSeconds({ results, checks }: Measured): (run: PlannedRun) => number | undefined {
  const pace = paceOf(checks)
  const rate = (some: Measured['results']) => {
    const [seconds, flops] = [
      sum(some.map(({ wallSeconds }) => wallSeconds)),
      sum(some.map(({ trainingFlops }) => trainingFlops)),
    ]
    return flops > 0 ? seconds / flops : undefined
  }
  const overall = rate(results)
  return ({ arm, work }) => {
    const own = rate(results.filter((result) => result.arm === arm))
    if (own !== undefined) return own * work.flops
    if (pace[arm] !== undefined) return pace[arm] * work.miniBatches
    return overall === undefined ? undefined : overall * work.flops
  }
}

/** Adds numbers up. */
export function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0)
}
