import { UserError } from '../../../engine/index.ts'
import type { Settings } from '../../settings.ts'
import type { Study } from '../plan/define.ts'
import type { Trial } from '../results/results.ts'

/**
 * Chooses the settings of each arm: those of its best trial on the validation images, the earliest among equals.
 * @throws UserError when all trials of an arm diverged
 */
export function chooseTuned(study: Study, trials: readonly Trial[]): Record<string, Partial<Settings>> {
  const best = new Map<string, { score: number; trial: Trial }>()
  for (const trial of trials.toSorted((a, b) => a.trial - b.trial)) {
    const score = scoreOf(study, trial)
    const before = best.get(trial.arm)
    if (!before || score > before.score) best.set(trial.arm, { score, trial })
  }
  for (const [arm, { score, trial }] of best) {
    if (score === Number.NEGATIVE_INFINITY)
      throw new UserError(`study ${study.id}: every trial of arm ${arm} diverged (${trial.failed}); change the space of tuning`)
  }
  return Object.fromEntries([...best].map(([arm, { trial }]) => [arm, trial.values as Partial<Settings>]))
}

/** Returns the score of a trial; a higher one is better. */
function scoreOf({ metric }: Study, { validation }: Trial): number {
  const score = metric.endsWith('Loss') ? -(validation?.loss.at(-1) ?? Number.NaN) : (validation?.accuracy.at(-1) ?? Number.NaN)
  return Number.isFinite(score) ? score : Number.NEGATIVE_INFINITY
}
