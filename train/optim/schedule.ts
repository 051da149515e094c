/** A learning rate for each optimizer step, counted from 0. */
export type Schedule = (step: number) => number

export const SCHEDULE_NAMES = ['cosine', 'constant'] as const
export type ScheduleName = (typeof SCHEDULE_NAMES)[number]

/**
 * `cosine`: linear warm-up from lr / warmup to lr, then half a cosine down to `finalFraction` of it at the last step.
 * `constant`: the warm-up, then lr.
 */
export function schedule(
  name: ScheduleName,
  { lr, warmup, total, finalFraction = 0.01 }: { lr: number; warmup: number; total: number; finalFraction?: number },
): Schedule {
  return (step) => {
    if (step < warmup) return (lr * (step + 1)) / warmup
    if (name === 'constant') return lr
    const progress = Math.min(1, (step - warmup) / Math.max(1, total - warmup))
    return lr * (finalFraction + (1 - finalFraction) * 0.5 * (1 + Math.cos(Math.PI * progress)))
  }
}
