import { refusal } from '../../engine/base/checks.ts'
import { checkOptions, type OptionNames } from '../../engine/base/options.ts'
import { checkHyperparameters } from '../../engine/ops/optimizerStep.ts'

/** Returns the learning rate of an optimizer step, counted from 0. */
export type Schedule = (step: number) => number

export const SCHEDULE_NAMES = ['cosine', 'linear', 'step', 'oneCycle', 'constant'] as const
export type ScheduleName = (typeof SCHEDULE_NAMES)[number]

export interface ScheduleOptions {
  /** The largest learning rate, from 0 to 1e32. */
  lr: number
  /** Steps of the warm-up, a whole number of at least 0. If it is more than `total`, `lr` is never reached. */
  warmup: number
  /** Number of all steps, at least 0. */
  total: number
  /** The last learning rate of `cosine`, `linear` and `oneCycle` as a fraction of `lr`, from 0 to 1; default 0.01, of `oneCycle` 4e-6. */
  finalFraction?: number
  /** The first learning rate of `oneCycle` as a fraction of `lr`, from 0 to 1; default 0.04. */
  initialFraction?: number
  /** The steps after which `step` lowers the rate, a whole number of at least 1; default a third of those after the warm-up. */
  stepSize?: number
  /** The factor by which `step` lowers the rate, from 0 to 1; default 0.1. */
  gamma?: number
}

const OPTIONS: OptionNames<ScheduleOptions> = {
  lr: true,
  warmup: true,
  total: true,
  finalFraction: true,
  initialFraction: true,
  stepSize: true,
  gamma: true,
}

/** The options that only some schedules take. */
const OF: Readonly<Record<string, readonly ScheduleName[]>> = {
  finalFraction: ['cosine', 'linear', 'oneCycle'],
  initialFraction: ['oneCycle'],
  stepSize: ['step'],
  gamma: ['step'],
}

/**
 * Makes a schedule. All but `oneCycle` begin with a linear warm-up from lr / warmup to lr. Then `cosine` goes by half a cosine and `linear`
 * by a line down to `finalFraction` of lr, which they reach at step `total`, the one after the last, so that no step is lost; `step`
 * multiplies lr by `gamma` every `stepSize` steps; `constant` stays. `oneCycle` (arXiv 1708.07120, in the form of PyTorch's OneCycleLR)
 * goes by half a cosine from `initialFraction` of lr up to lr at the last step of the warm-up, and by another one down to
 * `finalFraction` of it at the last step.
 * @throws ArgumentError in one line for a name or option that does not exist or the schedule does not have, and for numbers out of range
 */
export function schedule(name: ScheduleName, options: ScheduleOptions): Schedule {
  const op = 'schedule'
  if (!SCHEDULE_NAMES.includes(name)) {
    throw refusal(op, name, SCHEDULE_NAMES.map((known) => JSON.stringify(known)).join(' or '), 'name')
  }
  checkOptions(op, options ?? null, OPTIONS)
  for (const [option, names] of Object.entries(OF)) {
    const value = options[option as keyof ScheduleOptions]
    if (value !== undefined && !names.includes(name)) throw refusal(op, value, `no such option for "${name}"`, option)
  }
  const { lr, warmup, total } = options
  checkHyperparameters(op, { lr })
  if (!(Number.isSafeInteger(warmup) && warmup >= 0)) throw refusal(op, warmup, 'a whole number of at least 0', 'warmup')
  if (!(Number.isFinite(total) && total >= 0)) throw refusal(op, total, 'a number of at least 0', 'total')
  const after = Math.max(1, total - warmup)
  const { finalFraction = name === 'oneCycle' ? 4e-6 : 0.01, initialFraction = 0.04, gamma = 0.1 } = options
  const { stepSize = Math.max(1, Math.ceil(after / 3)) } = options
  for (const [option, value] of Object.entries({ finalFraction, initialFraction, gamma }))
    if (!(value >= 0 && value <= 1)) throw refusal(op, value, 'a number from 0 to 1', option)
  if (!(Number.isSafeInteger(stepSize) && stepSize >= 1))
    throw refusal(op, stepSize, 'a whole number of at least 1', 'stepSize')
  if (name === 'oneCycle') return oneCycle(lr, warmup, total, initialFraction, finalFraction)
  return (step) => {
    if (step < warmup) return (lr * (step + 1)) / warmup
    if (name === 'constant') return lr
    if (name === 'step') return lr * gamma ** Math.floor((step - warmup) / stepSize)
    const progress = Math.min(1, (step - warmup) / after)
    const left = name === 'linear' ? 1 - progress : 0.5 * (1 + Math.cos(Math.PI * progress))
    return lr * (finalFraction + (1 - finalFraction) * left)
  }
}

function oneCycle(lr: number, warmup: number, total: number, initial: number, final: number): Schedule {
  const cosine = (from: number, to: number, progress: number) =>
    lr * (to + (from - to) * 0.5 * (1 + Math.cos(Math.PI * Math.min(1, progress))))
  const peak = Math.max(0, warmup - 1)
  const down = Math.max(1, total - 1 - peak)
  return (step) => (step < peak ? cosine(initial, 1, step / peak) : cosine(1, final, (step - peak) / down))
}
