import type { LabelledImages } from '../data/microBatch.ts'

/** The values of an optimizer step on the host. */
export interface StepValues {
  /** [1] or [m], mean over the batch, before the step. */
  losses: number[]
  /** Predicted classes [1 or m, B], before the step. */
  predicted: ArrayLike<number>
  /** Global norm of the gradient, before clipping. */
  norm: number
  /** Loss scale of the next step, in mixed precision. */
  lossScale?: number | undefined
  /** The first intermediate value that is not finite, in words. */
  nonFinite?: string | undefined
}

/** Losses and predicted classes of a micro-batch. */
export interface PartValues {
  /** [1] or [m], the micro-batch's share of the mean. */
  losses: ArrayLike<number>
  /** [1 or m, B] */
  predicted: ArrayLike<number>
}

/** Intermediate values of a step on the host, in their order, for the search for the first that is not finite. */
export type Findings = [what: string, values: ArrayLike<number>][]

/** Adds up the losses of the micro-batches. */
export function added(values: readonly PartValues[]): number[] {
  return Array.from(values[0]!.losses, (_, k) => values.reduce((sum, { losses }) => sum + losses[k]!, 0))
}

/** Joins the predicted classes of the micro-batches, [1 or m, B]. */
export function joined(values: readonly PartValues[], microBatches: readonly LabelledImages[]): number[] {
  const prefixes = values[0]!.losses.length
  return Array.from({ length: prefixes }, (_, k) =>
    values.flatMap(({ predicted }, i) => {
      const B = microBatches[i]!.labels.length
      return Array.from({ length: B }, (_, b) => predicted[k * B + b]!)
    }),
  ).flat()
}

/** Whether a value of a finding is not finite. */
export function isBad([, values]: Findings[number]): boolean {
  return !Array.prototype.every.call(values, Number.isFinite)
}
