import type { TunedJson } from '../../engine/autotune/tuned.ts'
import { Tensor, UserError } from '../../engine/index.ts'
import { createModel, type Model, type ModelConfig, parseConfig } from '../../model/index.ts'
import { loadSafetensors, type Saveable, saveSafetensors, toFloat32 } from '../checkpoint/files.ts'
import type { SafetensorsFile } from '../checkpoint/safetensors.ts'
import type { DatasetName } from '../data/names.ts'
import { wrongStatistics } from '../data/normalize.ts'
import type { Evaluation } from '../evaluate.ts'
import type { AdamW } from '../optim/adamW.ts'
import { isLossScale, type LossScale, type LossScaleState } from '../optim/lossScale.ts'
import { checkSettings, type Settings } from '../settings.ts'

/** Where a run stands: the mini-batch that comes next. */
export interface Position {
  epoch: number
  /** Of the scheme. */
  pass: number
  batch: number
  /** Mini-batches done. */
  step: number
  /** Optimizer steps done. */
  updates: number
}

/** How images must be normalised for the model, and what its classes are called. */
export interface DataInfo {
  dataset: DatasetName
  mean: number[]
  std: number[]
  classNames?: string[] | undefined
}

/** What a checkpoint holds besides the parameters, so that a run resumes with the same bits. */
export interface TrainingState {
  settings: Settings
  position: Position
  random: { seed: number; counter: number }
  /** Step counts of AdamW by parameter name. */
  steps: Record<string, number>
  /** In mixed precision. */
  lossScale?: LossScaleState | undefined
  /** Evaluations so far, one an epoch. */
  history: (Evaluation & { epoch: number })[]
  /** The evaluation at this position was interrupted and comes next. */
  evaluationDue?: boolean | undefined
  /** Seconds of training so far. */
  seconds: number
  /** Variants of kernels that were measured to be fastest: others give other bits. */
  variants?: TunedJson | undefined
}

/** What the training loop itself knows of it. */
export type LoopState = Omit<TrainingState, 'steps' | 'lossScale'>

const M = 'optimizer.m.'
const V = 'optimizer.v.'

/** A model or what was gathered of one that lives on several devices. */
export interface SavedModel {
  readonly config: ModelConfig
  stateDict(): Readonly<Record<string, Saveable>>
}

/** An optimizer or what was gathered of several. */
export interface SavedOptimizer {
  state(): { m: ReadonlyMap<string, Saveable>; v: ReadonlyMap<string, Saveable> }
  steps(): Promise<Record<string, number>>
  readonly lossScale: Pick<LossScale, 'growthInterval' | 'save'>
}

/** Saves the parameters alone, with config and data info: what `predict` needs. */
export async function saveModel(path: string, model: SavedModel, data: DataInfo): Promise<void> {
  await saveSafetensors(path, model.stateDict(), { config: JSON.stringify(model.config), data: JSON.stringify(data) })
}

/** Saves all that a run needs to resume. */
export async function saveCheckpoint(
  path: string,
  model: SavedModel,
  optimizer: SavedOptimizer,
  state: LoopState,
  data: DataInfo,
): Promise<void> {
  const steps = await optimizer.steps()
  const lossScale = optimizer.lossScale.growthInterval > 0 ? await optimizer.lossScale.save() : undefined
  const { m, v } = optimizer.state()
  const tensors = new Map<string, Saveable>(Object.entries(model.stateDict()))
  for (const [name, t] of m) tensors.set(M + name, t)
  for (const [name, t] of v) tensors.set(V + name, t)
  try {
    await saveSafetensors(path, tensors, {
      config: JSON.stringify(model.config),
      data: JSON.stringify(data),
      training: JSON.stringify({ ...state, steps, lossScale }),
    })
  } finally {
    for (const t of [...m.values(), ...v.values()]) if (t instanceof Tensor) t.dispose()
  }
}

/** A checkpoint in memory: its config is checked, its tensors are not yet in a model. */
export interface Checkpoint {
  path: string
  file: SafetensorsFile
  config: ModelConfig
  data: DataInfo | undefined
}

/**
 * Reads a checkpoint; no device is needed.
 * @throws UserError in one line for a file that is missing, malformed or without a sound config
 */
export async function readCheckpoint(path: string): Promise<Checkpoint> {
  const file = await loadSafetensors(path)
  const { config: json, data } = file.metadata
  if (json === undefined) {
    throw new UserError(`${path}: has no model config in its metadata; use a checkpoint that this project wrote`)
  }
  const config = named(path, () => parseConfig(json))
  const info = data === undefined ? undefined : parse(path, 'data', data, (value) => isDataInfo(value, config))
  return { path, file, config, data: info }
}

/**
 * The model of a checkpoint, on the default device.
 * @throws UserError in one line when the checkpoint has other tensors than its config says
 */
export function modelOf({ path, file, config }: Checkpoint): Model {
  return named(path, () => {
    const model = createModel(config)
    model.loadStateDict(new Map([...file.tensors].filter(([name]) => !name.startsWith('optimizer.'))))
    return model
  })
}

/** Runs `fn`; what the user can mend names the file. */
function named<T>(path: string, fn: () => T): T {
  try {
    return fn()
  } catch (error) {
    throw error instanceof UserError ? new UserError(`${path}: ${error.message}`) : error
  }
}

/** The training state of a checkpoint. @throws UserError when it has none */
export function trainingState({ path, file }: Checkpoint): TrainingState {
  const { training } = file.metadata
  if (training === undefined) {
    throw new UserError(`${path}: holds no training state; resume from a run's checkpoint.safetensors`)
  }
  const state = parse(path, 'training', training, isTrainingState)
  return { ...state, settings: checkSettings(state.settings) }
}

/** What a run goes on from: a checkpoint with its training state. @throws UserError in one line */
export async function readRun(path: string): Promise<{ checkpoint: Checkpoint; state: TrainingState }> {
  const checkpoint = await readCheckpoint(path)
  return { checkpoint, state: trainingState(checkpoint) }
}

/** Puts the saved moments, step counts and loss scale back. @throws UserError when some are missing or of another shape */
export function restoreOptimizer(
  { path, file }: Checkpoint,
  optimizer: AdamW,
  { steps, lossScale }: Pick<TrainingState, 'steps' | 'lossScale'>,
): void {
  const state = optimizer.state()
  try {
    for (const [prefix, moments] of [
      [M, state.m],
      [V, state.v],
    ] as const) {
      for (const [name, t] of moments) restore(path, file, prefix + name, t)
    }
  } finally {
    for (const t of [...state.m.values(), ...state.v.values()]) t.dispose()
  }
  optimizer.setSteps(steps)
  if (lossScale) optimizer.lossScale.restore(lossScale)
}

function restore(path: string, file: SafetensorsFile, name: string, into: Tensor): void {
  const entry = file.tensors.get(name)
  if (entry?.shape.join() !== into.shape.join()) {
    throw new UserError(`${path}: lacks ${name} of shape [${into.shape.join(', ')}]; use an intact checkpoint`)
  }
  into.write(toFloat32(entry))
}

function parse<T>(path: string, key: string, json: string, check: (value: unknown) => value is T): T {
  let value: unknown
  try {
    value = JSON.parse(json)
  } catch {
    throw new UserError(`${path}: the metadata ${key} is not JSON; use an intact checkpoint`)
  }
  if (!check(value))
    throw new UserError(`${path}: the metadata ${key} lacks something or is malformed; use an intact checkpoint`)
  return value
}

/** Characters of a name in a checkpoint. */
const MAX_NAME = 200

function isDataInfo(value: unknown, { channels, classes }: ModelConfig): value is DataInfo {
  const { dataset, mean, std, classNames } = (value ?? {}) as Partial<DataInfo>
  const isName = (name: unknown) => typeof name === 'string' && name.length <= MAX_NAME
  return (
    isName(dataset) &&
    Array.isArray(mean) &&
    Array.isArray(std) &&
    wrongStatistics(mean, std, channels) === undefined &&
    (classNames === undefined || (Array.isArray(classNames) && classNames.length === classes && classNames.every(isName)))
  )
}

function isTrainingState(value: unknown): value is TrainingState {
  const {
    settings,
    position: p,
    random,
    steps,
    lossScale,
    history,
    evaluationDue = false,
    seconds,
    variants,
  } = (value ?? {}) as Partial<TrainingState>
  const counts = [
    p?.epoch,
    p?.pass,
    p?.batch,
    p?.step,
    p?.updates,
    random?.seed,
    random?.counter,
    ...Object.values(steps ?? {}),
  ]
  return (
    [settings, steps, variants?.answers ?? {}].every((part) => typeof part === 'object' && part !== null) &&
    counts.every((count) => Number.isSafeInteger(count) && count! >= 0) &&
    Array.isArray(history) &&
    history.every(({ losses, accuracies }) => Array.isArray(losses) && Array.isArray(accuracies)) &&
    typeof evaluationDue === 'boolean' &&
    Number.isFinite(seconds) &&
    Object.values(steps!).every((count) => count < 2 ** 31) &&
    (lossScale === undefined || isLossScale(lossScale))
  )
}
