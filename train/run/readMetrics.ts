import * as v from 'valibot'
import { accepted, amount, count, fields, listOf, numberOrNaN, text } from '../../engine/base/json.ts'
import { violations } from '../evaluate.ts'
import type { Metric } from './metrics.ts'

const SPLIT = v.picklist(['train', 'validation', 'test'], 'train, validation or test')

const FLAT = fields({
  time: amount,
  epoch: count,
  pass: count,
  step: count,
  prefix: v.pipe(count, v.minValue(1, 'a whole number of at least 1')),
  split: SPLIT,
  loss: numberOrNaN,
  accuracy: numberOrNaN,
  lr: v.optional(amount),
  norm: v.optional(numberOrNaN),
  lossScale: v.optional(amount),
  imagesPerSecond: v.optional(numberOrNaN),
  flops: v.optional(amount),
  violations: v.optional(count),
})

/** Lines of former versions: one for a mini-batch, and one for an evaluation. */
const NESTED_STEP = fields({
  kind: v.literal('step', 'step'),
  step: count,
  epoch: count,
  losses: listOf(listOf(numberOrNaN)),
  accuracies: listOf(listOf(numberOrNaN)),
  norms: listOf(numberOrNaN),
  lossScale: v.optional(amount),
  lr: amount,
  imagesPerSecond: v.optional(numberOrNaN),
})
const NESTED_EPOCH = fields({
  kind: v.literal('epoch', 'epoch'),
  step: count,
  epoch: count,
  split: text,
  losses: listOf(numberOrNaN),
  accuracies: listOf(numberOrNaN),
  seconds: amount,
})

/**
 * Parses metrics.jsonl. Lines of former versions become flat ones; what they lack is NaN (`time`), 0 (`pass`) or missing. A line that is
 * no metric, such as one that a killed process did not finish, is left out.
 */
export function parseMetrics(jsonl: string): Metric[] {
  const values = jsonl.split('\n').flatMap((line) => parsed(line))
  const branches = Math.max(1, ...values.map((value) => accepted(NESTED_EPOCH, value)?.losses.length ?? 1))
  return values.flatMap((value) => flatten(value, branches))
}

function parsed(line: string): unknown[] {
  try {
    return [JSON.parse(line)]
  } catch {
    return []
  }
}

function flatten(value: unknown, branches: number): Metric[] {
  const flat = accepted(FLAT, value)
  if (flat) return [flat]
  const epoch = accepted(NESTED_EPOCH, value)
  if (epoch) {
    const split = epoch.split === 'validation' ? 'validation' : 'test'
    return prefixes(epoch.losses, epoch.accuracies, 1, { time: epoch.seconds, epoch: epoch.epoch, step: epoch.step, split })
  }
  const step = accepted(NESTED_STEP, value)
  if (!step) return []
  const { losses, accuracies, norms, lossScale, lr, imagesPerSecond } = step
  return losses.flatMap((scores, i) => {
    // A step with one loss is that of the prefix whose turn it was, or of the full sum.
    const first = scores.length > 1 ? 1 : losses.length > 1 ? i + 1 : branches
    const shared = { time: Number.NaN, epoch: step.epoch, step: step.step, split: 'train', lr, norm: norms[i] } as const
    return prefixes(scores, accuracies[i] ?? [], first, { ...shared, lossScale, imagesPerSecond })
  })
}

function prefixes(
  losses: readonly number[],
  accuracies: readonly number[],
  first: number,
  shared: Omit<Metric, 'pass' | 'prefix' | 'loss' | 'accuracy' | 'violations'>,
): Metric[] {
  return losses.map((loss, j): Metric => {
    const last = losses.length > 1 && j === losses.length - 1
    const scored = { pass: 0, prefix: first + j, loss, accuracy: accuracies[j] ?? Number.NaN }
    return { ...shared, ...scored, violations: last ? violations(losses) : undefined }
  })
}
