import { refusal } from '../../../engine/base/checks.ts'
import { kindOf } from '../../../engine/base/kind.ts'
import { checkOptions, type OptionNames } from '../../../engine/base/options.ts'
import { type Device, UserError } from '../../../engine/index.ts'
import type { Model, ModelConfig } from '../../../model/index.ts'
import type { SchemeDefinition } from '../../schemes/index.ts'
import { SETTINGS, type SettingName, type Settings } from '../../settings.ts'
import { EXPANSION_ARMS, type ExpansionArm, FREEZES, type Freeze, SOFTMAXES, type Softmax } from '../expand/ways.ts'

/** The quantity that the arms of a study share with its baseline: optimizer steps, counted training FLOPs, parameters or measured time. */
export type Budget = 'parameters' | 'flops' | 'steps' | 'time'

/** Operations and parameters of an arm's own model, for its budget; those of a built-in model are known. */
export interface ModelCount {
  parameters: number
  /** Floating-point operations of the forward and backward pass of one image. */
  training: number
}

/** Numbers that a run measured beside its scores, by name. */
export type Measures = Record<string, number>

/** The division of a ViT and its batches by a pipeline. */
export interface PipelineShape {
  /** Devices of the adapter, all in one process; each has some of the layers. */
  devices: number
  /** Parts of a batch; a batch that they do not divide has fewer. */
  microBatches: number
}

/** The part of a run that goes beyond training and evaluation. Its numbers are the `measures` of the result. */
export type Procedure =
  /** Measures every prefix of the trained model, as `paraformer compress` does. */
  | { name: 'compress' }
  /**
   * Measures the seconds of a forward pass of the trained model, with so many images at a time (default 1 and 64): `forwardSeconds1`. A
   * ViT with `pipeline` passes through it, and the seconds of a training step on a batch are measured too: `stepSeconds`.
   */
  | { name: 'latency'; batches?: readonly number[]; pipeline?: PipelineShape }
  /**
   * Trains on the first of some tasks, then learns the others in one of the ways of `paraformer expand`. The seed of a run also shuffles
   * the classes (`classes`) or pixels (`permuted`) of the tasks.
   */
  | {
      name: 'expand'
      way: ExpansionArm
      /** Default `classes`. */
      split?: 'classes' | 'permuted' | 'rotated'
      /** Default 2. */
      tasks?: number
      /** Branches that are appended for each task; default 1. */
      add?: number
      /** The parameters that `expand` and `expandReplay` freeze; default `branches`. */
      freeze?: Freeze
      /** Classes among which the label of a new image competes in `expand` and `finetune`; default `all`. */
      softmax?: Softmax
      /** Share of the old images that `expandReplay` and `replay` learn again; default 0.1. */
      replay?: number
    }

/** One of the ways that a study compares. */
export interface Arm {
  description?: string
  /** Settings that differ from those of the preset, which the function gets. */
  settings: Partial<Settings> | ((preset: Partial<Settings>) => Partial<Settings>)
  /** Makes a model of the arm's own, of a class that extends a built-in one. */
  model?: (config: ModelConfig, device: Device) => Model
  /** Counts one image of the arm's own model. */
  count?: (config: ModelConfig) => ModelCount
  /** A scheme of the arm's own, or the way to make one for a number of branches; default the one that the settings name. */
  scheme?: SchemeDefinition | ((branches: number) => SchemeDefinition)
  /** The budget of this arm alone: as much of something as another arm has. `none` leaves its length as its settings say. */
  budget?: { equal: Budget; to: string } | 'none'
  /** The part of a run that goes beyond training and evaluation. */
  procedure?: Procedure
}

/** A claim of a study, and the comparison that decides on it. */
export interface Rule {
  claim: string
  /** The arm that the claim favours, and the one that it is compared with. */
  compare: readonly [arm: string, other: string]
  /** The metric of this comparison, or that of each arm, if it is not the study's. */
  metric?: string | readonly [arm: string, other: string]
  /** Whether the first arm's metric must be higher or lower. */
  better: 'higher' | 'lower'
  /** The amount by which the first arm's metric must be better, in its units; default 0. */
  margin?: number
}

/** The values of a setting that tuning draws from: a list, or a range, drawn evenly or by its logarithm. */
export type Range = readonly unknown[] | { low: number; high: number; log?: boolean }

export interface Tuning {
  /** Trials of each arm; all arms have the same draws. */
  trials: number
  space: Partial<Record<SettingName, Range>>
  /** Seed of the trials' runs; default 0. */
  seed?: number
}

/** A question, the arms that answer it, and the rule that says how, all of it fixed before the first run. */
export interface Study {
  /** Name of the study and its folders: small letters, digits, hyphens. */
  id: string
  hypothesis: string
  prediction: string
  /** `testAccuracy` or `testLoss` of the whole model at the end, or another number of a result, such as `trainingFlops`. */
  metric: string
  decisionRule: readonly Rule[]
  arms: Readonly<Record<string, Arm>>
  /** The arm that budgets refer to; default the first. */
  baseline?: string
  seeds: readonly number[]
  budget: Budget
  tuning?: Tuning
  /** Settings of each size of the study, such as `tiny`, `small` and `paper`. */
  presets: Readonly<Record<string, Partial<Settings>>>
  /** Whether nothing may run beside a run, because times are what it measures. */
  exclusive?: boolean
}

const STUDY: OptionNames<Study> = {
  id: true,
  hypothesis: true,
  prediction: true,
  metric: true,
  decisionRule: true,
  arms: true,
  baseline: true,
  seeds: true,
  budget: true,
  tuning: true,
  presets: true,
  exclusive: true,
}
const ARM: OptionNames<Arm> = {
  description: true,
  settings: true,
  model: true,
  count: true,
  scheme: true,
  budget: true,
  procedure: true,
}
const RULE: OptionNames<Rule> = { claim: true, compare: true, metric: true, better: true, margin: true }
const TUNING: OptionNames<Tuning> = { trials: true, space: true, seed: true }
const PIPELINE: OptionNames<PipelineShape> = { devices: true, microBatches: true }
const BUDGETS: readonly unknown[] = ['parameters', 'flops', 'steps', 'time']

/** Settings that are the study's to give, not an arm's. */
const GIVEN: readonly string[] = ['seed', 'dataDir', 'download']

/**
 * Declares a study, the default export of a study file.
 * @throws ArgumentError for a field of a wrong kind; UserError for a study that contradicts itself: an arm that does not exist, a seed
 *   used twice
 */
export function defineStudy(study: Study): Study {
  checkOptions('defineStudy', study ?? null, STUDY)
  const { id, arms, seeds, presets, decisionRule, budget, tuning } = study
  if (typeof id !== 'string' || !/^[a-z0-9][a-z0-9-]*$/.test(id))
    throw refusal('defineStudy', id, 'small letters, digits and hyphens', 'id')
  for (const name of ['hypothesis', 'prediction', 'metric'] as const)
    if (typeof study[name] !== 'string' || study[name] === '') throw refusal('defineStudy', study[name], 'a text', name)
  if (!BUDGETS.includes(budget)) throw refusal('defineStudy', budget, `one of ${BUDGETS.join(', ')}`, 'budget')
  for (const [name, value] of Object.entries({ arms, presets })) {
    if (typeof value !== 'object' || value === null || Object.keys(value).length === 0)
      throw refusal('defineStudy', value, 'an object with at least one entry', name)
  }
  if (!Array.isArray(decisionRule)) throw refusal('defineStudy', decisionRule, 'a list of rules', 'decisionRule')
  checkSeeds(seeds, id)
  const known = (arm: string, where: string) => {
    if (!Object.hasOwn(arms, arm))
      throw new UserError(`study ${id}: ${where} names arm ${kindOf(arm)}; there are ${Object.keys(arms).join(', ')}`)
  }
  if (study.baseline !== undefined) known(study.baseline, 'baseline')
  for (const [name, arm] of Object.entries(arms)) {
    checkArm(id, name, arm, known)
    if (arm.procedure !== undefined) checkProcedure(study, name, arm)
  }
  for (const rule of decisionRule) checkRule(id, rule, known)
  for (const [name, settings] of Object.entries(presets)) checkGiven(id, `preset ${name}`, settings)
  if (tuning !== undefined) checkTuning(id, tuning)
  return study
}

function checkSeeds(seeds: unknown, id: string): void {
  const whole = (seed: unknown) => Number.isSafeInteger(seed) && (seed as number) >= 0
  if (!Array.isArray(seeds) || seeds.length === 0 || !seeds.every(whole))
    throw refusal('defineStudy', seeds, 'a list of whole numbers of at least 0', 'seeds')
  const twice = seeds.find((seed, i) => seeds.indexOf(seed) !== i)
  if (twice !== undefined) throw new UserError(`study ${id}: seed ${twice} is used twice; each run needs a seed of its own`)
}

function checkArm(id: string, name: string, arm: Arm, known: (arm: string, where: string) => void): void {
  if (!/^[A-Za-z0-9][\w.+-]*$/.test(name))
    throw new UserError(`study ${id}: arm ${kindOf(name)} is no name of letters, digits and . _ + -`)
  checkOptions(`arm ${name}`, arm ?? null, ARM)
  const { settings, budget, model, count, scheme } = arm
  if (typeof settings !== 'function') checkGiven(id, `arm ${name}`, settings)
  for (const [field, value] of Object.entries({ model, count }))
    if (value !== undefined && typeof value !== 'function') throw refusal(`arm ${name}`, value, 'a function', field)
  const isScheme = typeof scheme === 'function' || typeof scheme?.make === 'function'
  if (scheme !== undefined && !isScheme) throw refusal(`arm ${name}`, scheme, 'a scheme of defineScheme', 'scheme')
  if (budget === undefined || budget === 'none') return
  if (!BUDGETS.includes(budget.equal))
    throw refusal(`arm ${name}`, budget.equal, `one of ${BUDGETS.join(', ')}`, 'budget.equal')
  known(budget.to, `the budget of arm ${name}`)
  if (budget.to === name) throw new UserError(`study ${id}: the budget of arm ${name} refers to itself; name another arm`)
}

const PROCEDURES: Readonly<Record<Procedure['name'], readonly string[]>> = {
  compress: [],
  latency: ['batches', 'pipeline'],
  expand: ['way', 'split', 'tasks', 'add', 'freeze', 'softmax', 'replay'],
}

function checkProcedure({ id, tuning, budget }: Study, name: string, { procedure, ...arm }: Arm): void {
  const where = `arm ${name}`
  const kind = procedure?.name as Procedure['name']
  if (!Object.hasOwn(PROCEDURES, kind))
    throw refusal(where, procedure, `a name of ${Object.keys(PROCEDURES).join(', ')}`, 'procedure')
  const unknown = Object.keys(procedure!).find((key) => key !== 'name' && !PROCEDURES[kind].includes(key))
  if (unknown !== undefined) throw new UserError(`study ${id}: procedure ${kind} of arm ${name} has no option ${unknown}`)
  if (procedure?.name === 'latency') {
    const { batches = [1] } = procedure
    const sizes = Array.isArray(batches) && batches.length > 0 && batches.every((B) => Number.isSafeInteger(B) && B >= 1)
    if (!sizes) throw refusal(where, batches, 'a list of numbers of images', 'batches')
    const { pipeline } = procedure
    if (pipeline !== undefined) {
      checkOptions(where, pipeline, PIPELINE)
      for (const [key, least] of [
        ['devices', 2],
        ['microBatches', 1],
      ] as const) {
        const number = pipeline[key]
        if (!(Number.isSafeInteger(number) && number >= least))
          throw refusal(where, number, `a whole number of at least ${least}`, `pipeline.${key}`)
      }
    }
  }
  if (procedure?.name !== 'expand') return
  const { way, split = 'classes', tasks = 2, add = 1, freeze = 'branches', softmax = 'all', replay = 0.1 } = procedure
  if (!EXPANSION_ARMS.includes(way)) throw refusal(where, way, `one of ${EXPANSION_ARMS.join(', ')}`, 'way')
  if (!['classes', 'permuted', 'rotated'].includes(split)) throw refusal(where, split, 'classes, permuted or rotated', 'split')
  if (!(Number.isSafeInteger(tasks) && tasks >= 2)) throw refusal(where, tasks, 'a whole number of at least 2', 'tasks')
  if (!(Number.isSafeInteger(add) && add >= 1)) throw refusal(where, add, 'a whole number of at least 1', 'add')
  if (!FREEZES.includes(freeze)) throw refusal(where, freeze, `one of ${FREEZES.join(', ')}`, 'freeze')
  if (!SOFTMAXES.includes(softmax)) throw refusal(where, softmax, `one of ${SOFTMAXES.join(', ')}`, 'softmax')
  if (!(replay >= 0 && replay <= 1)) throw refusal(where, replay, 'a share from 0 to 1', 'replay')
  // An expansion is several training runs: no budget can change their length, and no validation images can choose among its
  // trials.
  const length = arm.budget === undefined || arm.budget === 'none' ? (arm.budget ?? budget) : arm.budget.equal
  if (!['parameters', 'none'].includes(length))
    throw new UserError(`study ${id}: arm ${name} expands a model, whose length no budget changes; use budget parameters`)
  if (tuning !== undefined) throw new UserError(`study ${id}: arm ${name} expands a model, which cannot be tuned`)
  if (arm.model ?? arm.scheme ?? arm.count)
    throw new UserError(`study ${id}: arm ${name} expands a model, which must be the library's own, with its schemes`)
}

function checkRule(id: string, rule: Rule, known: (arm: string, where: string) => void): void {
  checkOptions('decisionRule', rule ?? null, RULE)
  const { claim, compare, metric, better, margin = 0 } = rule
  const isMetric = (name: unknown) => typeof name === 'string' && name !== ''
  const both = Array.isArray(metric) && metric.length === 2 && metric.every(isMetric)
  if (metric !== undefined && !isMetric(metric) && !both)
    throw refusal('decisionRule', metric, 'the name of a metric, or one for each arm', 'metric')
  if (typeof claim !== 'string') throw refusal('decisionRule', claim, 'a text', 'claim')
  if (!Array.isArray(compare) || compare.length !== 2) throw refusal('decisionRule', compare, 'two names of arms', 'compare')
  for (const arm of compare) known(arm, 'decisionRule')
  if (better !== 'higher' && better !== 'lower')
    throw new UserError(`study ${id}: better is ${kindOf(better)}, not higher or lower`)
  if (!(margin >= 0 && Number.isFinite(margin))) throw refusal('decisionRule', margin, 'a number of at least 0', 'margin')
}

/** @throws UserError for settings that are unknown, or that the study gives itself */
export function checkGiven(id: string, where: string, settings: unknown): void {
  if (typeof settings !== 'object' || settings === null) throw refusal(`study ${id}`, settings, 'settings', where)
  for (const name of Object.keys(settings)) {
    if (!Object.hasOwn(SETTINGS, name)) throw new UserError(`study ${id}: ${where} has an unknown setting ${kindOf(name)}`)
    if (GIVEN.includes(name)) throw new UserError(`study ${id}: ${where} sets ${name}, which the study gives; leave it out`)
  }
}

function checkTuning(id: string, tuning: Tuning): void {
  checkOptions('tuning', tuning, TUNING)
  const { trials, space } = tuning
  if (!(Number.isSafeInteger(trials) && trials >= 1)) throw refusal('tuning', trials, 'a whole number of at least 1', 'trials')
  checkGiven(id, 'tuning', space)
  for (const [name, range] of Object.entries(space)) {
    const { low, high, log = false } = range as { low: number; high: number; log?: boolean }
    const isRange = Number.isFinite(low) && Number.isFinite(high) && low <= high && !(log && low <= 0)
    const isList = Array.isArray(range) && range.length > 0
    if (!isList && !isRange) throw refusal('tuning', range, 'a list of values, or { low, high, log }', name)
  }
}
