import * as v from 'valibot'
import { amount, count, fields, numberOrNaN } from '../../engine/base/json.ts'
import { type Evaluation, violations } from '../evaluate.ts'
import type { StepReport } from './trainerParts.ts'

/** The schema of a line of metrics.jsonl. */
export const METRIC = fields({
  /** Seconds of training so far, those of earlier sessions of the run included. */
  time: amount,
  /** Epoch, from 0. */
  epoch: count,
  /** Pass of the scheme in the epoch, from 0. */
  pass: count,
  /** Mini-batches done, this one included. */
  step: count,
  /** Number k of the prefix, from 1. */
  prefix: v.pipe(count, v.minValue(1, 'a whole number of at least 1')),
  /** The images: `train` for a mini-batch, the others for an evaluation. */
  split: v.picklist(['train', 'validation', 'test'], 'train, validation or test'),
  /** Mean cross-entropy L_k. JSON has null for a loss that is not finite. */
  loss: numberOrNaN,
  /** Share of the images that are classified right. */
  accuracy: numberOrNaN,
  lr: v.optional(amount),
  /** Global norm of the gradient, before clipping. */
  norm: v.optional(numberOrNaN),
  /** Loss scale of the next step, in mixed precision. */
  lossScale: v.optional(amount),
  imagesPerSecond: v.optional(numberOrNaN),
  /** Counted floating-point operations of the training so far; see `trainingFlops`. */
  flops: v.optional(amount),
  /** Number of prefixes k > 1 with L_k > L_(k-1). The line of the last prefix has it, where all prefixes were scored at once. */
  violations: v.optional(count),
})

/** One line of metrics.jsonl: what one prefix scored in an optimizer step, or in an evaluation. */
export type Metric = v.InferOutput<typeof METRIC>

/** Returns the lines of a mini-batch: one for each prefix of each optimizer step. */
export function stepMetrics(report: StepReport, imagesPerSecond: number): Metric[] {
  const { time, epoch, pass, position, losses, accuracies, firstPrefixes, norms, lossScale, lr, flops } = report
  const shared = { time, epoch, pass, step: position.step }
  return losses.flatMap((scores, i) =>
    scores.map((loss, j): Metric => {
      const last = scores.length > 1 && j === scores.length - 1
      return {
        ...shared,
        prefix: firstPrefixes[i]! + j,
        split: 'train',
        loss,
        accuracy: accuracies[i]![j]!,
        lr,
        norm: norms[i],
        lossScale,
        imagesPerSecond,
        flops,
        violations: last ? violations(scores) : undefined,
      }
    }),
  )
}

/** Returns the lines of an evaluation, one for each prefix. */
export function evaluationMetrics(
  { losses, accuracies }: Evaluation,
  at: Pick<Metric, 'time' | 'epoch' | 'pass' | 'step' | 'split' | 'flops'>,
): Metric[] {
  const { time, epoch, pass, step, split, flops } = at
  return losses.map((loss, k): Metric => {
    const last = k > 0 && k === losses.length - 1
    const scored = { prefix: k + 1, split, loss, accuracy: accuracies[k]! }
    return { time, epoch, pass, step, ...scored, flops, violations: last ? violations(losses) : undefined }
  })
}
