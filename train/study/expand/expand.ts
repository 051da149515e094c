import {
  checkChoice,
  checkFunction,
  checkList,
  checkNumber,
  checkObject,
  checkWhole,
  refusal,
} from '../../../engine/base/checks.ts'
import { kindOf } from '../../../engine/base/kind.ts'
import { checkOptions, type OptionNames } from '../../../engine/base/options.ts'
import { Device, UserError } from '../../../engine/index.ts'
import { countParameters, createModel, MODES, type ParaFormer } from '../../../model/index.ts'
import { readState } from '../../modelState.ts'
import { type SchemeDefinition, schemeOf } from '../../schemes/index.ts'
import { checkSettings, type Settings } from '../../settings.ts'
import { mean } from '../statistics/index.ts'
import { checkTrained } from '../trained.ts'
import { checkAdd, checkBase, checkSizes, checkTask } from './checks.ts'
import { forgettingOf } from './forgetting.ts'
import { type BaseModel, checkInit, defaultInit, expandedConfig, expandModel, type Init } from './model.ts'
import { type ExpansionSchemeOptions, expansionScheme } from './scheme.ts'
import { join, sample, type Task } from './splits.ts'
import { accuraciesOn, type ExpansionRun, type TrainedTask, trainOn } from './train.ts'
import { EXPANSION_ARMS, type ExpansionArm, FREEZES, type Freeze, SOFTMAXES, type Softmax } from './ways.ts'

/** Streams of random numbers that are set apart for each task. */
const STREAMS = 2 ** 40

export interface ExpandOptions extends ExpansionRun {
  /** The first task is what the base model knows; each of the others brings new branches. */
  tasks: readonly Task[]
  /** The base model. */
  base: BaseModel
  /** Branches that are appended for each task; default 1. */
  add?: number | undefined
  /** The parameters that `expand` and `expandReplay` freeze; default `branches`. */
  freeze?: Freeze | undefined
  /** Classes among which the label of a new image competes in `expand` and `finetune`; default `all`, as with replay and `scratch`. */
  softmax?: Softmax | undefined
  /** First values of new branches; default `zero` for the paper's residual, else `random`. */
  init?: Init | undefined
  /** Share of the training images of each old task that is replayed; default 0.1. */
  replay?: number | undefined
  /** The arms to run; default all but `expandReplay`. */
  arms?: readonly ExpansionArm[] | undefined
  /** Is called with the share of the work that is done, and the part that is going on. */
  onProgress?: ((share: number, what: string) => void) | undefined
}

const OPTIONS: OptionNames<ExpandOptions> = {
  device: true,
  shape: true,
  settings: true,
  mode: true,
  runs: true,
  shouldStop: true,
  tasks: true,
  base: true,
  add: true,
  freeze: true,
  softmax: true,
  init: true,
  replay: true,
  arms: true,
  onProgress: true,
}

/** An arm after a task. Accuracies are on test images, by task, the first one first. */
export interface ExpansionStage extends TrainedTask {
  /** Number of tasks learned. */
  tasks: number
  branches: number
  parameters: number
  /** Accuracies of the whole model. */
  accuracies: number[]
  /** Accuracies of the prefix that the model had after each task, with the head as it is now: for images whose task is known. */
  atPrefix: number[]
  /** Mean accuracy on the tasks before this one. */
  old: number
  /** Accuracy on this task. */
  new: number
  /** Mean, over the tasks before this one, of the best accuracy so far minus the accuracy now. */
  forgetting: number
}

export interface Expansion {
  tasks: { name: string; classes: number; train: number; test: number }[]
  base: { branches: number; parameters: number; accuracy: number }
  add: number
  freeze: Freeze
  softmax: Softmax
  init: Init
  replay: number
  arms: { arm: ExpansionArm; stages: ExpansionStage[] }[]
}

/**
 * Has a trained model learn task after task, in several ways, and measures what it learns and forgets. All arms have the same settings,
 * seed and number of epochs.
 * @returns the results, and the models after the last task by arm
 * @throws UserError for fewer than 2 tasks, a base of other classes than the first task, bad options, and an untrained base; ArgumentError
 *   for options of a wrong kind
 */
export async function expand(options: ExpandOptions): Promise<{ results: Expansion; models: Map<ExpansionArm, BaseModel> }> {
  checkKinds(options)
  const { tasks, base, add = 1, freeze = 'branches', softmax = 'all', replay = 0.1, onProgress } = options
  const { init = defaultInit(base.config), arms = EXPANSION_ARMS.filter((arm) => arm !== 'expandReplay') } = options
  checkExpand({ tasks, base, add, freeze, softmax, init, replay, arms })
  const accuracy = await baseAccuracy(options, tasks[0]!)
  checkTrained(accuracy, base.config.classes, tasks[0]!.test.count)
  const models = new Map<ExpansionArm, BaseModel>()
  const found: Expansion['arms'] = []
  const units = arms.length * (tasks.length - 1)
  for (const [a, arm] of arms.entries()) {
    let model = base
    const stages: ExpansionStage[] = []
    const table = [[accuracy]]
    for (let t = 1; t < tasks.length; t++) {
      const unit = a * (tasks.length - 1) + t - 1
      const onStep = (share: number) => onProgress?.((unit + share) / units, `${arm}, task ${t + 1} of ${tasks.length}`)
      const run = { ...options, add, freeze, softmax, replay, init }
      // Every arm draws the same random numbers for a task, so that arms differ only in what they do, whether or not earlier
      // runs were resumed.
      options.device.random.seed = options.settings.seed
      options.device.random.counter = (t - 1) * STREAMS
      const learned = await learn(run, arm, model, t, onStep)
      table.push(learned.accuracies)
      stages.push({ ...learned.stage, forgetting: forgettingOf(table) })
      model = learned.model
    }
    models.set(arm, model)
    found.push({ arm, stages })
  }
  const { branches } = base.config
  const parameters = countParameters(base.config).total
  const counts = tasks.map(({ name, classes, train, test }) => ({ name, classes, train: train.count, test: test.count }))
  return {
    results: { tasks: counts, base: { branches, parameters, accuracy }, add, freeze, softmax, init, replay, arms: found },
    models,
  }
}

/** Options with their defaults filled in. */
type Complete = ExpandOptions & { add: number; freeze: Freeze; softmax: Softmax; replay: number; init: Init }

/** Returns the share of the old images that an arm learns again. @param replay the share that is replayed */
export function oldShare(arm: ExpansionArm, replay: number): number {
  if (arm === 'scratch') return 1
  return arm === 'expandReplay' || arm === 'replay' ? replay : 0
}

/** Returns the parameters that an arm freezes. @param freeze the parameters that `expand` and `expandReplay` freeze */
function frozenBy(arm: ExpansionArm, freeze: Freeze): Freeze {
  return arm === 'expand' || arm === 'expandReplay' ? freeze : 'none'
}

/**
 * Returns the scheme by which an arm learns a new task.
 * @param options the options of the expansion, and the model before the task
 */
export function stageScheme(arm: ExpansionArm, { scheme }: Settings, options: ExpansionSchemeOptions): SchemeDefinition {
  if (arm === 'scratch') return schemeOf(scheme)
  // Replayed images compare old classes with new ones.
  const softmax = arm === 'expand' || arm === 'finetune' ? options.softmax : 'all'
  return expansionScheme({ ...options, freeze: frozenBy(arm, options.freeze), softmax })
}

/** Has an arm learn task t. @param before its model after the tasks before */
async function learn(
  options: Complete,
  arm: ExpansionArm,
  before: BaseModel,
  t: number,
  onStep: (share: number) => void,
): Promise<{ stage: Omit<ExpansionStage, 'forgetting'>; accuracies: number[]; model: BaseModel }> {
  const { tasks, base, add, init, freeze: asked, softmax, replay, settings } = options
  const { classes, train } = tasks[t]!
  const freeze = frozenBy(arm, asked)
  const model =
    arm === 'scratch'
      ? (createModel(expandedConfig(before.config, add, classes)) as ParaFormer)
      : await expandModel(before, { add, classes, init })
  try {
    const olds = tasks.slice(0, t).map((task) => task.train)
    const share = oldShare(arm, replay)
    const data = share > 0 ? join([...olds.map((split) => sample(split, share, settings.seed)), train]) : train
    const { branches, classes: oldClasses } = before.config
    const scheme = stageScheme(arm, settings, { branches, classes: oldClasses, freeze, softmax })
    const trained = await trainOn(options, model, { name: `${arm}-task${t + 1}`, scheme, split: data, freeze, onStep })
    const each: number[][] = []
    for (const { test } of tasks.slice(0, t + 1)) each.push(await accuraciesOn(options, model, test, () => onStep(1)))
    const accuracies = each.map((prefixes) => prefixes.at(-1)!)
    const atPrefix = each.map((prefixes, j) => prefixes[base.config.branches + j * add - 1]!)
    const stage = {
      tasks: t + 1,
      branches: model.config.branches,
      parameters: countParameters(model.config).total,
      ...trained,
      accuracies,
      atPrefix,
      old: mean(accuracies.slice(0, t)),
      new: accuracies[t]!,
    }
    const { parameters } = await readState({ model })
    return { stage, accuracies, model: { config: model.config, parameters } }
  } finally {
    model.dispose()
  }
}

async function baseAccuracy(run: ExpandOptions, first: Task): Promise<number> {
  const model = createModel(run.base.config) as ParaFormer
  model.precision = run.settings.precision
  try {
    model.loadStateDict(run.base.parameters)
    return (await accuraciesOn(run, model, first.test, () => run.onProgress?.(0, 'the base on test images'))).at(-1)!
  } finally {
    model.dispose()
  }
}

/** @throws ArgumentError for options of a wrong kind; UserError for wrong settings and a base without branches */
function checkKinds(options: ExpandOptions): void {
  checkOptions('expand', options ?? null, OPTIONS)
  const unchecked: { [K in keyof ExpandOptions]?: unknown } = options
  const { device, shape, settings, mode, runs, shouldStop, tasks, base, arms, onProgress } = unchecked
  if (!(device instanceof Device)) throw refusal('expand', device, 'a device', 'device')
  checkObject('expand', shape, '{ channels, height, width, mean, std }', 'shape')
  const pixels = checkSizes('expand', shape, 'shape')
  for (const key of ['mean', 'std']) checkList('expand', shape[key], 'a list of numbers', `shape.${key}`)
  checkObject('expand', settings, 'an object of settings', 'settings')
  const missing = Object.keys(checkSettings(settings)).find((key) => settings[key] === undefined)
  if (missing !== undefined) throw refusal('expand', undefined, 'complete settings', `settings.${missing}`)
  if ((settings.optimizer ?? 'adamW') !== 'adamW' || settings.ema)
    throw new UserError('expand takes --optimizer adamW without --ema; leave these settings out')
  checkChoice('expand', mode, MODES, 'mode')
  if (runs !== undefined) {
    checkObject('expand', runs, '{ saveEvery, open }', 'runs')
    checkWhole('expand', runs.saveEvery, 'runs.saveEvery')
    checkFunction('expand', runs.open, 'runs.open')
  }
  for (const [name, value] of Object.entries({ shouldStop, onProgress }))
    if (value !== undefined) checkFunction('expand', value, name)
  checkList('expand', tasks, 'a list of tasks', 'tasks')
  for (const [t, task] of tasks.entries()) checkTask('expand', task, `tasks[${t}]`, pixels)
  checkBase('expand', base)
  if (arms !== undefined) checkList('expand', arms, 'a list of arms', 'arms')
}

/** @throws UserError, see `expand`; ArgumentError for options of a wrong kind */
function checkExpand(options: Omit<Complete, keyof ExpansionRun> & { arms: readonly ExpansionArm[] }): void {
  const { tasks, base, add, freeze, softmax, init, replay, arms } = options
  if (tasks.length < 2) throw new UserError('an expansion takes at least 2 tasks: what the model knows, and what it learns')
  const { classes } = tasks[0]!
  if (base.config.classes !== classes) {
    throw new UserError(
      `the model has ${base.config.classes} classes, the first task ${classes}; use the task that it was trained on`,
    )
  }
  checkAdd('expand', add)
  checkNumber('expand', replay, 'replay')
  if (!(replay >= 0 && replay <= 1)) throw new UserError(`a replayed share of ${replay} is not from 0 to 1`)
  if (!FREEZES.includes(freeze)) throw new UserError(`there is no freeze ${kindOf(freeze)}; choose from ${FREEZES.join(', ')}`)
  if (!SOFTMAXES.includes(softmax))
    throw new UserError(`there is no softmax ${kindOf(softmax)}; choose from ${SOFTMAXES.join(', ')}`)
  const unknown = arms.find((arm) => !EXPANSION_ARMS.includes(arm))
  if (unknown !== undefined || arms.length === 0 || new Set(arms).size < arms.length) {
    throw new UserError(`arms are ${kindOf(arms)}; choose from ${EXPANSION_ARMS.join(', ')}, each once`)
  }
  checkInit('expand', base.config, init)
  expandedConfig(base.config, add * (tasks.length - 1), tasks.at(-1)!.classes)
}
