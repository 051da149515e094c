import * as v from 'valibot'
import { UserError } from '../../engine/base/errors.ts'
import { amount, count, fields, listOf, mapOf, numberOrNaN, parseJson, text } from '../../engine/base/json.ts'
import { branchShape, type ModelConfig } from '../../model/index.ts'
import type { OwnSettings } from '../data/dataset.ts'
import { type DatasetKind, MAX_NAME } from '../data/names.ts'
import { wrongStatistics } from '../data/normalize.ts'
import { MAX_SCALE, MAX_STEADY, MIN_SCALE } from '../optim/lossScale.ts'
import { checkSettings, type SettingName, type Settings } from '../settings.ts'

/** The place of the next mini-batch of a run, and what is done before it. */
export interface Position {
  epoch: number
  /** Pass of the scheme in the epoch. */
  pass: number
  /** Mini-batch in the pass. */
  batch: number
  /** Mini-batches done. */
  step: number
  /** Optimizer steps done. */
  updates: number
}

/** Normalisation of the images of a model, and names of its classes. */
export interface DataInfo {
  dataset: DatasetKind
  mean: number[]
  std: number[]
  classNames?: string[] | undefined
  /** How a data set of the user's own was read, whose images are cropped where they are not square. */
  own?: OwnSettings | undefined
}

const whole31 = v.pipe(count, v.maxValue(2 ** 31 - 1, 'a whole number below 2^31'))
const SCALE = 'a number from 2^-126 to 2^126'
const scale = v.pipe(amount, v.minValue(MIN_SCALE, SCALE), v.maxValue(MAX_SCALE, SCALE))
const steady = v.pipe(count, v.maxValue(MAX_STEADY, 'a whole number of at most 2^24'))
/** Losses or accuracies of the prefixes. */
const scores = listOf(numberOrNaN)

/** `TrainingState`, with settings that are not checked yet. */
const TRAINING = fields({
  settings: mapOf(v.unknown()),
  position: fields({ epoch: count, pass: count, batch: count, step: count, updates: count }),
  random: fields({ seed: count, counter: count }),
  steps: mapOf(whole31),
  lossScale: v.optional(fields({ scale, steady })),
  history: listOf(fields({ epoch: count, images: count, losses: scores, accuracies: scores })),
  evaluationDue: v.optional(v.boolean('true or false')),
  seconds: amount,
  flops: v.optional(amount),
  variants: v.optional(fields({ device: text, answers: mapOf(text) })),
})

/** The state of a run besides its parameters and moments, with which it resumes with the same bits. */
export interface TrainingState {
  settings: Settings
  position: Position
  random: { seed: number; counter: number }
  /** Step counts of AdamW by parameter name. */
  steps: Record<string, number>
  /** Loss scale, in mixed precision. */
  lossScale?: { scale: number; steady: number } | undefined
  /** Evaluations so far, one for each epoch, with the scores of all prefixes. */
  history: { epoch: number; images: number; losses: number[]; accuracies: number[] }[]
  /** Whether the evaluation at this position comes next. */
  evaluationDue?: boolean | undefined
  /** Seconds of training so far. */
  seconds: number
  /** Counted floating-point operations of the training so far; missing in checkpoints of former versions. */
  flops?: number | undefined
  /** Kernel variants that the run uses, since other variants give other bits. */
  variants?: { device: string; answers: Record<string, string> } | undefined
}

const name = v.pipe(text, v.maxLength(MAX_NAME, `a text of at most ${MAX_NAME} characters`))

const DATA = fields({
  dataset: name,
  mean: listOf(v.unknown()),
  std: listOf(v.unknown()),
  classNames: v.optional(listOf(name)),
  own: v.optional(fields({ seed: v.optional(count), testShare: v.optional(amount), recordShape: v.optional(listOf(count)) })),
})

/**
 * Parses the training state of a model of `config`.
 * @param json the metadata
 * @param parameters names of the model's parameters
 * @throws UserError in one line that names the wrong field
 */
export function parseTraining(json: string, config: ModelConfig, parameters: Iterable<string>): TrainingState {
  const state = parseJson(TRAINING, json, 'the metadata training')
  const fail: (what: string) => never = (what) => {
    throw new UserError(`the metadata training is malformed: ${what}`)
  }
  const { branches } = branchShape(config)
  for (const [i, { losses, accuracies }] of state.history.entries()) {
    if (losses.length !== branches || accuracies.length !== branches) {
      fail(`history.${i} has ${losses.length} losses and ${accuracies.length} accuracies, not ${branches}`)
    }
  }
  for (const parameter of parameters) if (!Object.hasOwn(state.steps, parameter)) fail(`it lacks steps.${parameter}`)
  if (state.evaluationDue && state.position.step === 0) fail('evaluationDue is true before the first mini-batch')
  return { ...state, settings: checkSettings(state.settings as Partial<Record<SettingName, unknown>>) }
}

/** Parses the data info of a model. @throws UserError in one line that names the wrong field */
export function parseDataInfo(json: string, { channels, classes }: ModelConfig): DataInfo {
  const { dataset, mean, std, classNames, own } = parseJson(DATA, json, 'the metadata data')
  const wrong =
    wrongStatistics(mean, std, channels) ??
    (classNames && classNames.length !== classes
      ? `classNames has ${classNames.length} names for ${classes} classes`
      : undefined)
  if (wrong !== undefined) throw new UserError(`the metadata data is malformed: ${wrong}`)
  return { dataset: dataset as DatasetKind, mean: mean as number[], std: std as number[], classNames, ...(own && { own }) }
}
