import { checkBoolean, checkText } from '../../engine/base/checks.ts'
import { checkOptions } from '../../engine/base/options.ts'
import { Tensor, UserError } from '../../engine/index.ts'
import { createModel, type Model, type ModelConfig, parseConfig } from '../../model/index.ts'
import { parameterShapes } from '../../model/shapes.ts'
import { checkOutlines } from '../../model/stateDict.ts'
import { type SafetensorsEntry, toFloat32 } from '../checkpoint/dtypes.ts'
import { type OpenSafetensors, openSafetensors, type Saveable, saveSafetensors, type TensorInfo } from '../checkpoint/files.ts'
import { type Entries, restoreMoments } from '../modelState.ts'
import type { AdamW } from '../optim/adamW.ts'
import type { LossScale } from '../optim/lossScale.ts'
import { type DataInfo, parseDataInfo, parseTraining, type TrainingState } from './metadata.ts'

/** The part of a run's state that the training loop has. */
export type LoopState = Omit<TrainingState, 'steps' | 'lossScale'>

const M = 'optimizer.m.'
const V = 'optimizer.v.'

/** A model, or the state gathered from a model on several devices. */
export interface SavedModel {
  readonly config: ModelConfig
  stateDict(): Readonly<Record<string, Saveable>>
}

/** An optimizer, or the state gathered from several. */
export interface SavedOptimizer {
  state(): { m: ReadonlyMap<string, Saveable>; v: ReadonlyMap<string, Saveable> }
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
  /** Moments of the optimizer by parameter name. */
  m: Entries
  v: Entries
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
  const { checkpoint, state, m, v } = await read(path, true, ownModel)
  return { checkpoint, state: state!, m, v }
}

async function read(path: string, resumes: boolean, ownModel = false) {
  const file = await openSafetensors(path)
  try {
    const { names, config, data, state } = withPath(path, () => check(file, resumes, ownModel))
    const entries = async (prefix: string): Promise<Entries> => {
      const found: Entries = new Map()
      for (const name of names) found.set(name, await file.read(prefix + name))
      return found
    }
    const parameters = new Map([...(await entries(''))].map(([name, entry]) => [name, widened(entry)]))
    const [m, v] = resumes ? [await entries(M), await entries(V)] : [new Map(), new Map()]
    return { checkpoint: { path, config, data, parameters }, state, m, v }
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
  const parameters = [...file.tensors].filter(([name]) => !name.startsWith('optimizer.'))
  const found = new Map(
    parameters.map(([name, { dtype, shape }]) => [name, { dtype: dtype === 'F16' ? 'F32' : dtype, shape }] as const),
  )
  const shapes: ReadonlyMap<string, { shape: readonly number[] }> = ownModel ? found : parameterShapes(config)
  checkOutlines(shapes, found)
  const names = [...shapes.keys()]
  const data = info === undefined ? undefined : parseDataInfo(info, config)
  if (!resumes) return { config, data, names }
  if (training === undefined) throw new UserError("holds no training state; resume from a run's checkpoint.safetensors")
  const state = parseTraining(training, config, names)
  for (const [name, { shape }] of shapes) {
    for (const moment of [M + name, V + name]) checkMoment(moment, file.tensors.get(moment), shape)
  }
  return { config, data, state, names }
}

/** Runs `fn`; the message of a UserError gets the file's path before it. */
export function withPath<T>(path: string, fn: () => T): T {
  try {
    return fn()
  } catch (error) {
    throw error instanceof UserError ? new UserError(`${path}: ${error.message}`) : error
  }
}

function checkMoment(name: string, found: TensorInfo | undefined, shape: readonly number[]): void {
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

/** Overwrites moments, step counts and loss scale of an optimizer with those of a saved run. */
export function restoreOptimizer(optimizer: AdamW, { m, v, state: { steps, lossScale } }: SavedRun): void {
  restoreMoments(optimizer, { m, v, steps })
  if (lossScale) optimizer.lossScale.restore(lossScale)
}
