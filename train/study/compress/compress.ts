import { checkBoolean, checkChoice, checkFunction, checkList, checkNumber, refusal } from '../../../engine/base/checks.ts'
import { ArgumentError } from '../../../engine/base/errors.ts'
import { kindOf } from '../../../engine/base/kind.ts'
import { checkOptions, type OptionNames } from '../../../engine/base/options.ts'
import { UserError } from '../../../engine/index.ts'
import { withArticle } from '../../../model/config.ts'
import { checkPrefix, countFlops, countParameters, Ensemble, MODES, type Mode, ParaFormer, ViT } from '../../../model/index.ts'
import type { BatchLoader } from '../../data/loader.ts'
import { spoiledPrefixes } from '../../evaluate.ts'
import { checkTrained } from '../trained.ts'
import { EXIT_THRESHOLDS, exitCurve, exitFlops } from './exits.ts'
import { type Latency, measureLatency } from './latency.ts'
import { greedyOrder } from './order.ts'
import { branchOutputs, prefixScores } from './outputs.ts'

export interface CompressOptions {
  /** Batches of the images by which the order and the smallest prefix are chosen. */
  validation: BatchLoader
  /** Batches of the images on which the choice is judged. */
  test: BatchLoader
  /** Points of validation accuracy that a prefix may lose against the whole model; default 0.5. */
  tolerance?: number | undefined
  /** Whether the branches are put in greedy order first; default they stay. */
  reorder?: boolean | undefined
  /** Number of branches to keep, in place of the smallest prefix within the tolerance. */
  prefix?: number | undefined
  /** Confidences at which exits are tried, from 0 to 1. */
  thresholds?: readonly number[] | undefined
  /** Numbers of images in the batches whose latency is measured; default 1 and 64. */
  batches?: readonly number[] | undefined
  /** Mode in which the branches run; default `serial`. */
  mode?: Mode | undefined
  /** Is called with the share of the work that is done, and the part that is going on. */
  onProgress?: ((share: number, what: string) => void) | undefined
}

const OPTIONS: OptionNames<CompressOptions> = {
  validation: true,
  test: true,
  tolerance: true,
  reorder: true,
  prefix: true,
  thresholds: true,
  batches: true,
  mode: true,
  onProgress: true,
}

/** The costs and accuracies of a prefix. */
export interface CompressedPrefix {
  /** Number k of branches. */
  prefix: number
  parameters: number
  /** Bytes of the parameters in each dtype. */
  bytes: { float32: number; float16: number }
  /** FLOPs of one image. */
  flops: number
  /** Median milliseconds by the number of images in a batch. */
  latencyMs: Latency
  /** Accuracy on validation and test images. */
  validation: number
  test: number
}

/** Results of early exit at a threshold, on both kinds of images. */
export interface CompressedExit {
  threshold: number
  /** Accuracy on test images. */
  accuracy: number
  /** Mean FLOPs of a test image, with the heads of all prefixes that it passes. */
  flops: number
  /** Mean number of branches that run for a test image. */
  branches: number
  /** Accuracy on validation images. */
  validation: number
}

export interface Compression {
  /** Images of each kind. */
  images: { validation: number; test: number }
  /** Indices of the branches from 0, in the order of the prefixes. */
  order: number[]
  prefixes: CompressedPrefix[]
  /** Accuracies of the prefixes in the order in which the model has its branches; only after re-ordering. */
  unordered?: { validation: number[]; test: number[] }
  exits: CompressedExit[]
  tolerance: number
  /** The number of branches to keep. */
  chosen: number
  /** The smallest prefixes within 0.5 and 1 points of the whole model, on validation images. */
  within: { points: number; prefix: number }[]
}

/**
 * Measures what each prefix of a trained model costs and is worth, and chooses the smallest one within a tolerance. The branches run once
 * on each image: every accuracy, order and exit comes from sums of their outputs.
 * @throws UserError for a ViT, a tolerance below 0, thresholds outside 0 to 1, a prefix that does not exist, a model that is spoiled or
 *   no better than chance; ArgumentError for arguments of a wrong kind
 */
export async function compress(model: ParaFormer, options: CompressOptions): Promise<Compression> {
  checkCompress(model, options)
  const { validation, test, tolerance = 0.5, reorder = false, thresholds = EXIT_THRESHOLDS, batches = [1, 64] } = options
  const { mode = 'serial', onProgress } = options
  const { config } = model
  const m = config.branches
  const images = validation.count + test.count
  // Running the branches takes most of the time, and the measurement of the latency the rest.
  const running = (done: number) => onProgress?.((0.8 * done) / images, `${done}/${images} images`)
  const outputs = {
    validation: await branchOutputs(model, validation, mode, running),
    test: await branchOutputs(model, test, mode, (done) => running(validation.count + done)),
  }
  const found = async (order: readonly number[]) => ({
    validation: await prefixScores(model, outputs.validation, order),
    test: await prefixScores(model, outputs.test, order),
  })
  const identity = Array.from({ length: m }, (_, i) => i)
  const before = await found(identity)
  const spoiled = spoiledPrefixes(before.validation.losses) ?? spoiledPrefixes(before.test.losses)
  if (spoiled) throw new UserError(`${spoiled}; the parameters are spoiled, use an earlier checkpoint`)
  checkTrained(before.validation.accuracies.at(-1)!, config.classes, validation.count)
  const order = reorder
    ? await greedyOrder(model, outputs.validation, (done) => onProgress?.(0.8, `branch ${done} of ${m} in order`))
    : identity
  const scores = reorder ? await found(order) : before
  // All branches cost the same, so the order does not matter here.
  const latencies = await measureLatency(model, batches, mode, (share) => onProgress?.(0.8 + 0.2 * share, 'measuring latency'))
  const [valid, tested] = [scores.validation.accuracies, scores.test.accuracies]
  const prefixes = identity.map((i): CompressedPrefix => {
    const parameters = countParameters(config, { branches: i + 1 }).total
    return {
      prefix: i + 1,
      parameters,
      bytes: { float32: 4 * parameters, float16: 2 * parameters },
      flops: countFlops(config, { branches: i + 1 }).forward,
      latencyMs: latencies[i]!,
      validation: valid[i]!,
      test: tested[i]!,
    }
  })
  const costs = exitFlops(config)
  const onValidation = exitCurve(scores.validation, thresholds, costs)
  return {
    images: { validation: validation.count, test: test.count },
    order,
    prefixes,
    ...(reorder && { unordered: { validation: before.validation.accuracies, test: before.test.accuracies } }),
    exits: exitCurve(scores.test, thresholds, costs).map((exit, i) => ({ ...exit, validation: onValidation[i]!.accuracy })),
    tolerance,
    chosen: options.prefix ?? smallestWithin(valid, tolerance),
    within: [0.5, 1].map((points) => ({ points, prefix: smallestWithin(valid, points) })),
  }
}

/** Returns the smallest prefix whose accuracy is at most `points` points below that of the whole model. */
export function smallestWithin(accuracies: readonly number[], points: number): number {
  // Shares of images are quotients, so a difference of exactly the tolerance may be rounded above it.
  const least = accuracies.at(-1)! - points / 100 - 1e-12
  return accuracies.findIndex((accuracy) => accuracy >= least) + 1
}

/** @throws UserError and ArgumentError, see `compress` */
function checkCompress(model: unknown, options: CompressOptions): void {
  if (model instanceof ViT || model instanceof Ensemble)
    throw new UserError(`${withArticle(model.config.architecture)} has no branches to leave out; compress a paraformer`)
  if (!(model instanceof ParaFormer)) throw refusal('compress', model, 'a ParaFormer', 'model')
  checkOptions('compress', options ?? null, OPTIONS)
  const { validation, test, tolerance, reorder, thresholds, prefix, batches, mode, onProgress } = options
  for (const [name, loader] of Object.entries({ validation, test }))
    if (typeof loader?.seek !== 'function') throw refusal('compress', loader, 'a loader of batches', name)
  if (tolerance !== undefined) checkNumber('compress', tolerance, 'tolerance')
  if (reorder !== undefined) checkBoolean('compress', reorder, 'reorder')
  if (mode !== undefined) checkChoice('compress', mode, MODES, 'mode')
  if (onProgress !== undefined) checkFunction('compress', onProgress, 'onProgress')
  if (thresholds !== undefined) {
    checkList('compress', thresholds, 'a list of numbers', 'thresholds')
    for (const threshold of thresholds) checkNumber('compress', threshold, 'a threshold')
  }
  if (batches !== undefined) checkList('compress', batches, 'a list of numbers of images', 'batches')
  if (tolerance !== undefined && !(tolerance >= 0 && tolerance <= 100)) {
    throw new UserError(`a tolerance of ${tolerance} points is not from 0 to 100; give points of accuracy, such as 0.5`)
  }
  const wrong = thresholds?.find((threshold) => !(threshold >= 0 && threshold <= 1))
  if (wrong !== undefined) throw new UserError(`threshold ${wrong} is not a probability; give numbers from 0 to 1`)
  if (prefix !== undefined) checkPrefix(model.config, prefix)
  if (batches?.some((B) => !(Number.isSafeInteger(B) && B >= 1))) {
    throw new ArgumentError(
      `compress: got batches of ${batches.map(kindOf).join(', ')} images, takes whole numbers of at least 1`,
    )
  }
}
