import { createReadStream } from 'node:fs'
import { createInterface } from 'node:readline'
import * as v from 'valibot'
import { reason, UserError } from '../../../engine/base/errors.ts'
import { accepted, amount, count, fields, listOf, numberOrNaN } from '../../../engine/base/json.ts'
import { METRIC } from '../../run/metrics.ts'
import type { Point } from './point.ts'
import { thinned } from './thin.ts'

const scores = listOf(numberOrNaN)

/** The schemas of the lines of the older shape, each of which holds all prefixes of a mini-batch or of an evaluation. */
const STEP = fields({
  kind: v.literal('step', 'step'),
  epoch: count,
  step: count,
  losses: listOf(scores),
  accuracies: listOf(scores),
})
const EPOCH = fields({
  kind: v.literal('epoch', 'epoch'),
  epoch: count,
  step: count,
  split: METRIC.entries.split,
  losses: scores,
  accuracies: scores,
  seconds: v.optional(amount),
})

/** The learning curves of a run, and how many lines of its file are no metrics. */
export interface Metrics {
  points: Point[]
  skipped: number
}

/**
 * Reads metrics.jsonl, of this and of the older shape. A line that is no metric is skipped; curves of training are thinned.
 * @param branches branches of the model, where known; the older shape needs them to tell the prefixes of training losses
 * @throws UserError in one line when the file cannot be read
 */
export async function readMetrics(path: string, branches: number | undefined): Promise<Metrics> {
  const points: Point[] = []
  let skipped = 0
  const file = createReadStream(path, 'utf8')
  try {
    for await (const line of createInterface({ input: file, crlfDelay: Number.POSITIVE_INFINITY })) {
      if (line.trim() === '') continue
      const found = pointsOf(line, branches)
      if (found) points.push(...found)
      else skipped++
    }
  } catch (error) {
    throw new UserError(
      `${path}: cannot be read (${(error as { code?: string }).code ?? reason(error)}); check its permissions`,
    )
  }
  return { points: thinned(points), skipped }
}

/** Returns the points of a line, or undefined when it is no metric. */
function pointsOf(line: string, branches: number | undefined): Point[] | undefined {
  let value: unknown
  try {
    value = JSON.parse(line)
  } catch {
    return undefined
  }
  const flat = accepted(METRIC, value)
  if (flat) {
    const { split, prefix, epoch, step, time: seconds, flops, loss, accuracy } = flat
    return [{ split, prefix, epoch, step, seconds, flops, loss, accuracy }]
  }
  const evaluated = accepted(EPOCH, value)
  if (evaluated) {
    const { losses, accuracies, kind, ...at } = evaluated
    return losses.map((loss, k) => ({ ...at, prefix: k + 1, loss, accuracy: accuracies[k] ?? Number.NaN }))
  }
  const step = accepted(STEP, value)
  if (!step) return undefined
  return step.losses.flatMap((losses, i) =>
    losses.map((loss, j) => ({
      split: 'train' as const,
      prefix: prefixOf(step.losses, i, j, branches),
      epoch: step.epoch,
      step: step.step,
      loss,
      accuracy: step.accuracies[i]?.[j] ?? Number.NaN,
    })),
  )
}

/**
 * Tells the prefix of loss `j` of optimizer step `i` on a mini-batch: one step with all prefixes, a step for each prefix, or one step
 * on the whole model.
 */
function prefixOf(losses: readonly (readonly number[])[], i: number, j: number, branches: number | undefined): number {
  if (losses.length > 1) return i + 1
  return losses[0]!.length > 1 ? j + 1 : (branches ?? 1)
}
