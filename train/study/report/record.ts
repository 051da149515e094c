import { branchShape, checkConfig, countParameters, type ModelConfig } from '../../../model/index.ts'
import { DATASET_SHAPES } from '../../data/names.ts'
import type { RunRecord, Scores } from '../../run/record.ts'
import { checkSettings, modelConfigOf } from '../../settings.ts'
import { metricOf, type Result } from '../results/results.ts'
import type { AttentionMaps } from './attention.ts'
import type { Compression } from './compression.ts'
import type { Expansion } from './expansion.ts'
import type { Point } from './point.ts'

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
  /** Its line in results.jsonl, or its run.json; an unfinished run has nothing of it. */
  result: Partial<RunRecord & Pick<Result, 'trials'>>
  points: readonly Point[]
  /** How the branches of its model attend to some images. */
  attention: AttentionMaps | undefined
  /** The results of `paraformer compress` in its folder. */
  compression: Compression | undefined
  /** The results of `paraformer expand` in its folder. */
  expansion: Expansion | undefined
}

/** Returns the config of a model, or undefined for what is none. */
export function configOf(value: unknown): ModelConfig | undefined {
  try {
    return typeof value === 'object' && value !== null ? checkConfig(value as ModelConfig) : undefined
  } catch {
    return undefined
  }
}

/** Returns the config that settings give; undefined where the model has another number of parameters, since it is the study's own then. */
export function configOfSettings(
  settings: Readonly<Record<string, unknown>>,
  parameters: number | undefined,
): ModelConfig | undefined {
  try {
    const checked = checkSettings(settings)
    const config = modelConfigOf(checked, DATASET_SHAPES[checked.dataset])
    return parameters === undefined || countParameters(config).total === parameters ? config : undefined
  } catch {
    return undefined
  }
}

/** Returns the scores at the end of a run, from its result or from its last evaluation. */
export function finalScores(
  { result, points }: Pick<Run, 'result' | 'points'>,
  split: 'test' | 'validation',
): Scores | undefined {
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

/** Returns the metric of a run at its end, as `metricOf` does; an unfinished run has the scores of its last evaluation. */
export function metricOfRun(run: Run, metric: string): number | undefined {
  const [test, validation] = [finalScores(run, 'test'), finalScores(run, 'validation')]
  const final = { ...(test && { test }), ...(validation && { validation }) }
  return metricOf({ ...run.result, final }, metric)
}
