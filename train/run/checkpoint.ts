import { checkBoolean, checkText } from '../../engine/base/checks.ts'
import { checkOptions } from '../../engine/base/options.ts'
import { scope, Tensor, UserError } from '../../engine/index.ts'
import { createModel, type Model, type ModelConfig, parseConfig } from '../../model/index.ts'
import { parameterShapes } from '../../model/shapes.ts'
import { checkOutlines, load } from '../../model/stateDict.ts'
import { type SafetensorsEntry, toFloat32 } from '../checkpoint/dtypes.ts'
import { type OpenSafetensors, openSafetensors, type Saveable, saveSafetensors, type TensorInfo } from '../checkpoint/files.ts'
import type { Entries } from '../modelState.ts'
import type { Ema } from '../optim/ema.ts'
import { MOMENTS } from '../optim/kindNames.ts'
import type { LossScale } from '../optim/lossScale.ts'
import type { Optimizer } from '../optim/optimizer.ts'
import { type DataInfo, parseDataInfo, parseTraining, type TrainingState } from './metadata.ts'

/** The part of a run's state that the training loop has. */
export type LoopState = Omit<TrainingState, 'steps' | 'lossScale'>

/** Tensors of a checkpoint that are no state of the model: moments, and averages of parameters. */
const OPTIMIZER = 'optimizer.'
const AVERAGE = 'ema'

/** A model, or the state gathered from a model on several devices. */
export interface SavedModel {
  readonly config: ModelConfig
  stateDict(): Readonly<Record<string, Saveable>>
}

/** An optimizer, or the state gathered from several. */
export interface SavedOptimizer {
  /** Moments by their own names and those of the parameters. */
  state(): Readonly<Record<string, ReadonlyMap<string, Saveable>>>
  steps(): Promise<Record<string, number>>
  readonly lossScale: Pick<LossScale, 'growthInterval' | 'save'>
}

/** Saves the parameters alone, with config and data info, which is all that `predict` needs. */
export async function saveModel(path: string, model: SavedModel, data: DataInfo): Promise<void> {
  await saveSafetensors(path, model.stateDict(), { config: JSON.stringify(model.config), data: JSON.stringify(data) })
}

/** Saves everything that a run needs to resume. */
export async function saveCheckpoint(
  path: string,
  model: SavedModel,
  optimizer: SavedOptimizer,
  state: LoopState,
  data: DataInfo,
  ema?: Ema,
): Promise<void> {
  const steps = await optimizer.steps()
  const lossScale = optimizer.lossScale.growthInterval > 0 ? await optimizer.lossScale.save() : undefined
  const averages = ema && { [AVERAGE]: new Map(Object.entries(ema.stateDict())) }
  const extras = Object.entries({ ...optimizer.state(), ...averages }).flatMap(([of, entries]) =>
    [...entries].map(([name, t]): [string, Saveable] => [`${OPTIMIZER}${of}.${name}`, t]),
  )
  const tensors = new Map<string, Saveable>([...Object.entries(model.stateDict()), ...extras])
  try {
    await saveSafetensors(path, tensors, {
      config: JSON.stringify(model.config),
      data: JSON.stringify(data),
      training: JSON.stringify({ ...state, steps, lossScale }),
    })
  } finally {
    for (const [, t] of extras) if (t instanceof Tensor) t.dispose()
  }
}

/** A checkpoint in host memory, all of it checked. */
export interface Checkpoint {
  path: string
  config: ModelConfig
  data: DataInfo | undefined
  /** Parameters by name. */
  parameters: Entries
}

/** A checkpoint with everything else that a run needs to resume. */
export interface SavedRun {
  checkpoint: Checkpoint
  state: TrainingState
  /** Moments of the optimizer by their own names and those of the parameters. */
  moments: Readonly<Record<string, Entries>>
  /** Averages of the parameters, if the run has them. */
  averages?: Entries | undefined
}

/**
 * Reads a model's parameters; no device is needed. The config is compared with the tensors of the file before any is read, so that
 * it cannot make the reader allocate more memory than the file is long.
 * @throws UserError in one line for a file that is missing, malformed, without a valid config or with other tensors than its config says
 */
export async function readCheckpoint(path: string): Promise<Checkpoint> {
  checkText('readCheckpoint', path, 'path')
  return (await read(path, false)).checkpoint
}

/**
 * Reads a checkpoint to resume from.
 * @param options.ownModel whether the model may be of any class: its parameters are then compared with those of the file when they are loaded
 * @throws UserError in one line, also when it has no training state
 */
export async function readRun(path: string, options: { ownModel?: boolean } = {}): Promise<SavedRun> {
  checkText('readRun', path, 'path')
  checkOptions('readRun', options, { ownModel: true })
  const { ownModel = false } = options
  checkBoolean('readRun', ownModel, 'ownModel')
  const { checkpoint, state, moments, averages } = await read(path, true, ownModel)
  return { checkpoint, state: state!, moments, averages }
}

async function read(path: string, resumes: boolean, ownModel = false) {
  const file = await openSafetensors(path)
  try {
    const { names, config, data, state, extras = {} } = withPath(path, () => check(file, resumes, ownModel))
    const entries = async (names: Iterable<string>, prefix = ''): Promise<Entries> => {
      const found: Entries = new Map()
      for (const name of names) found.set(name, await file.read(prefix + name))
      return found
    }
    const parameters = new Map([...(await entries(names))].map(([name, entry]) => [name, widened(entry)]))
    const moments: Record<string, Entries> = {}
    for (const [of, own] of Object.entries(extras)) moments[of] = await entries(own, `${OPTIMIZER}${of}.`)
    const { [AVERAGE]: averages, ...rest } = moments
    return { checkpoint: { path, config, data, parameters }, state, moments: rest, averages }
  } finally {
    await file.close()
  }
}

/**
 * Converts a float16 entry, such as `paraformer compress` writes, to float32, which holds its values exactly. Other entries
 * stay as they are.
 */
export function widened(entry: SafetensorsEntry): SafetensorsEntry {
  return entry.dtype === 'F16' ? { dtype: 'F32', shape: entry.shape, data: toFloat32(entry) } : entry
}

/** Checks that the metadata and the tensors of a file fit each other. @returns the metadata and the names of the parameters */
function check(file: OpenSafetensors, resumes: boolean, ownModel: boolean) {
  const { config: json, data: info, training } = file.metadata
  if (json === undefined) throw new UserError('has no model config in its metadata; use a checkpoint that this project wrote')
  const config = parseConfig(json)
  const parameters = [...file.tensors].filter(([name]) => !name.startsWith(OPTIMIZER))
  const found = new Map(
    parameters.map(([name, { dtype, shape }]) => [name, { dtype: dtype === 'F16' ? 'F32' : dtype, shape }] as const),
  )
  const shapes: Shapes = ownModel ? found : parameterShapes(config)
  if (!ownModel) checkOutlines(shapes, found)
  const names = [...shapes.keys()]
  const data = info === undefined ? undefined : parseDataInfo(info, config)
  if (!resumes) return { config, data, names }
  if (training === undefined) throw new UserError("holds no training state; resume from a run's checkpoint.safetensors")
  const { state, trained } = checkTraining(file, training, config, shapes, ownModel)
  return { config, data, state, names, extras: extrasOf(file, state, trained) }
}

/** Parses the training state. @returns it with the parameters that are trained, which leaves out buffers of a model of the user's own */
function checkTraining(
  file: OpenSafetensors,
  training: string,
  config: ModelConfig,
  shapes: Shapes,
  ownModel: boolean,
): { state: TrainingState; trained: Shapes } {
  const counted = Object.keys(parseTraining(training, config, []).steps)
  const trained = ownModel ? new Map([...shapes].filter(([name]) => counted.includes(name))) : shapes
  const state = parseTraining(training, config, trained.keys())
  if (state.settings.ema) {
    for (const [name, { shape }] of trained) checkMoment(file, `${OPTIMIZER}${AVERAGE}.${name}`, shape)
  }
  return { state, trained }
}

type Shapes = ReadonlyMap<string, { shape: readonly number[] }>

/** Returns the names of the parameters that have each kind of moment. @throws UserError for moments that the optimizer does not leave */
function extrasOf(file: OpenSafetensors, { settings }: TrainingState, trained: Shapes): Record<string, string[]> {
  const extras: Record<string, string[]> = settings.ema ? { [AVERAGE]: [...trained.keys()] } : {}
  for (const [name, { shape }] of trained) {
    const sets = MOMENTS[settings.optimizer ?? 'adamW']
    const isThere = (of: string) => file.tensors.has(`${OPTIMIZER}${of}.${name}`)
    for (const of of sets.find((set) => set.every(isThere)) ?? sets[0]!) {
      checkMoment(file, `${OPTIMIZER}${of}.${name}`, shape)
      extras[of] = [...(extras[of] ?? []), name]
    }
  }
  return extras
}

/** Runs `fn`; the message of a UserError gets the file's path before it. */
export function withPath<T>(path: string, fn: () => T): T {
  try {
    return fn()
  } catch (error) {
    throw error instanceof UserError ? new UserError(`${path}: ${error.message}`) : error
  }
}

function checkMoment({ tensors }: OpenSafetensors, name: string, shape: readonly number[]): void {
  const found: TensorInfo | undefined = tensors.get(name)
  if (found?.shape.join() !== shape.join() || found.dtype !== 'F32') {
    throw new UserError(`lacks ${name} of F32 [${shape.join(', ')}]; use an intact checkpoint`)
  }
}

/** Makes the model of a checkpoint on the default device. */
export function modelOf({ config, parameters }: Checkpoint): Model {
  const model = createModel(config)
  model.loadStateDict(parameters)
  return model
}

/**
 * Overwrites moments, step counts and loss scale of an optimizer, and the averages, with those of a saved run.
 * @throws UserError for moments that the optimizer does not have
 */
export function restoreOptimizer(optimizer: Optimizer, run: SavedRun, ema?: Ema): void {
  const { checkpoint, state, moments, averages } = run
  const words = {
    problem: `${checkpoint.path}: its moments do not fit the optimizer`,
    owner: 'the optimizer',
    advice: 'use an intact checkpoint',
  }
  scope(() => {
    for (const [of, tensors] of Object.entries(optimizer.state())) load(tensors, moments[of] ?? new Map(), words)
  })
  optimizer.setSteps(state.steps)
  if (state.lossScale) optimizer.lossScale.restore(state.lossScale)
  if (averages) ema?.loadStateDict(averages)
}
