import { refusal } from '../../engine/base/checks.ts'
import { checkOptions, type OptionNames } from '../../engine/base/options.ts'
import { checkHyperparameters } from '../../engine/ops/optimizerStep.ts'

/** Returns the learning rate of an optimizer step, counted from 0. */
export type Schedule = (step: number) => number

export const SCHEDULE_NAMES = ['cosine', 'constant'] as const
export type ScheduleName = (typeof SCHEDULE_NAMES)[number]

export interface ScheduleOptions {
  /** The largest learning rate, from 0 to 1e32. */
  lr: number
  /** Steps of the warm-up, a whole number of at least 0. If it is more than `total`, `lr` is never reached. */
  warmup: number
  /** Number of all steps, at least 0. */
  total: number
  /** The last learning rate of `cosine` as a fraction of `lr`, from 0 to 1; default 0.01. */
  finalFraction?: number
}

const OPTIONS: OptionNames<ScheduleOptions> = { lr: true, warmup: true, total: true, finalFraction: true }

/**
 * Makes a schedule. `cosine`: linear warm-up from lr / warmup to lr, then half a cosine down to `finalFraction` of it at the last step.
 * `constant`: the warm-up, then lr.
 * @throws ArgumentError in one line for a name or option that does not exist, and for numbers out of range
 */
export function schedule(name: ScheduleName, options: ScheduleOptions): Schedule {
  const op = 'schedule'
  if (!SCHEDULE_NAMES.includes(name)) {
    throw refusal(op, name, SCHEDULE_NAMES.map((known) => JSON.stringify(known)).join(' or '), 'name')
  }
  checkOptions(op, options ?? null, OPTIONS)
  const { lr, warmup, total, finalFraction = 0.01 } = options
  checkHyperparameters(op, { lr })
  if (!(Number.isSafeInteger(warmup) && warmup >= 0)) throw refusal(op, warmup, 'a whole number of at least 0', 'warmup')
  if (!(Number.isFinite(total) && total >= 0)) throw refusal(op, total, 'a number of at least 0', 'total')
  if (!(finalFraction >= 0 && finalFraction <= 1)) throw refusal(op, finalFraction, 'a number from 0 to 1', 'finalFraction')
  return (step) => {
    if (step < warmup) return (lr * (step + 1)) / warmup
    if (name === 'constant') return lr
    const progress = Math.min(1, (step - warmup) / Math.max(1, total - warmup))
    return lr * (finalFraction + (1 - finalFraction) * 0.5 * (1 + Math.cos(Math.PI * progress)))
  }
}
