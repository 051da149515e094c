import * as v from 'valibot'
import { amount, count, fields, listOf, mapOf, numberOrNaN, text } from '../../../engine/base/json.ts'
import { branchShape, checkConfig, countParameters, type ModelConfig } from '../../../model/index.ts'
import type { DatasetName } from '../../data/names.ts'
import { checkSettings, modelConfigOf } from '../../settings.ts'
import type { Compression } from './compression.ts'
import type { Expansion } from './expansion.ts'
import type { Point, Split } from './point.ts'

/** Losses and accuracies by prefix. */
export interface Scores {
  /** Number of images. */
  images?: number | undefined
  loss: number[]
  accuracy: number[]
}

/** A run as the report sees it, be it an arm of a study at a seed or an ordinary run. */
export interface Run {
  /** Title of the study that it belongs to. */
  study: string | undefined
  /** The arm of the study, or the name of the run's folder. */
  arm: string
  seed: number | undefined
  folder: string | undefined
  settings: Readonly<Record<string, unknown>>
  /** Config of the model, unless it is one that only the study knows. */
  config: ModelConfig | undefined
  dataset: string | undefined
  /** Number of test images. */
  testImages: number | undefined
  result: Result
  /** The result as it stands in the file, for metrics of a study's own. */
  raw: unknown
  points: readonly Point[]
  /** The results of `paraformer compress` in its folder. */
  compression: Compression | undefined
  /** The results of `paraformer expand` in its folder. */
  expansion: Expansion | undefined
}

const scores = listOf(numberOrNaN)

const SCORES = fields({ images: v.optional(count), loss: scores, accuracy: scores })

const RESULT_ENTRIES = {
  format: v.optional(count),
  key: v.optional(text),
  arm: v.optional(text),
  seed: v.optional(count),
  commit: v.optional(v.nullable(text)),
  clean: v.optional(v.nullable(v.boolean('true or false'))),
  adapter: v.optional(text),
  driver: v.optional(text),
  coldSeconds: v.optional(v.nullable(amount)),
  warmSeconds: v.optional(v.nullable(amount)),
  peakBytes: v.optional(v.nullable(amount)),
  optimizerSteps: v.optional(amount),
  images: v.optional(amount),
  trainingFlops: v.optional(v.nullable(amount)),
  wallSeconds: v.optional(amount),
  parameters: v.optional(amount),
  settings: v.optional(mapOf(v.unknown())),
  model: v.optional(v.unknown()),
  trials: v.optional(count),
  registration: v.optional(text),
  final: v.optional(fields({ test: v.optional(SCORES), validation: v.optional(SCORES), train: v.optional(SCORES) })),
}

/** The content of run.json, and of a line of results.jsonl. */
export const RESULT = fields(RESULT_ENTRIES)

export type Result = v.InferOutput<typeof RESULT>

/** Returns the config of a model, or undefined for what is none. */
export function configOf(value: unknown): ModelConfig | undefined {
  try {
    return typeof value === 'object' && value !== null ? checkConfig(value as ModelConfig) : undefined
  } catch {
    return undefined
  }
}

/** Sides, channels and classes of the data sets. */
const DATASETS: Record<DatasetName, { height: number; width: number; channels: number; classes: number }> = {
  mnist: { height: 28, width: 28, channels: 1, classes: 10 },
  'fashion-mnist': { height: 28, width: 28, channels: 1, classes: 10 },
  'cifar-10': { height: 32, width: 32, channels: 3, classes: 10 },
  'cifar-100': { height: 32, width: 32, channels: 3, classes: 100 },
}

/** Returns the config that settings give; undefined where the model has another number of parameters, since it is the study's own then. */
export function configOfSettings(
  settings: Readonly<Record<string, unknown>>,
  parameters: number | undefined,
): ModelConfig | undefined {
  try {
    const checked = checkSettings(settings)
    const config = modelConfigOf(checked, DATASETS[checked.dataset])
    return parameters === undefined || countParameters(config).total === parameters ? config : undefined
  } catch {
    return undefined
  }
}

/** Returns the scores at the end of a run, from its result or from its last evaluation. */
export function finalScores({ result, points }: Pick<Run, 'result' | 'points'>, split: Split): Scores | undefined {
  const written = result.final?.[split]
  if (written) return written
  const evaluations = points.filter((point) => point.split === split)
  const last = Math.max(...evaluations.map(({ step }) => step))
  const found: Scores = { loss: [], accuracy: [] }
  for (const { step, prefix, loss, accuracy } of evaluations) {
    if (step !== last) continue
    found.loss[prefix - 1] = loss
    found.accuracy[prefix - 1] = accuracy
  }
  return found.loss.length > 0 ? found : undefined
}

/** Returns the number of branches of a run's model, as far as it is known. */
export function branchesOf({ config, points, result }: Pick<Run, 'config' | 'points' | 'result'>): number {
  if (config) return branchShape(config).branches
  return Math.max(1, result.final?.test?.loss.length ?? 0, ...points.map(({ prefix }) => prefix))
}

/**
 * Returns the metric of a run at its end: testAccuracy, testLoss, validationAccuracy or validationLoss of the whole model, or the number
 * at a path of its result, such as wallSeconds or final.test.accuracy.0.
 */
export function metricOf(run: Run, metric: string): number | undefined {
  const [, split, kind] = /^(test|validation|train)(Accuracy|Loss)$/.exec(metric) ?? []
  if (split) {
    const found = finalScores(run, split as Split)
    return (kind === 'Accuracy' ? found?.accuracy : found?.loss)?.at(-1)
  }
  let value: unknown = run.raw
  for (const key of metric.split('.')) {
    value =
      typeof value === 'object' && value !== null && Object.hasOwn(value, key)
        ? (value as Record<string, unknown>)[key]
        : undefined
  }
  return typeof value === 'number' ? value : undefined
}
