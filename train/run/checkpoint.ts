import { Tensor, UserError } from '../../engine/index.ts'
import { createModel, type Model, type ModelConfig, parseConfig } from '../../model/index.ts'
import { checkOutlines } from '../../model/module.ts'
import { parameterShapes } from '../../model/shapes.ts'
import {
  type OpenSafetensors,
  openSafetensors,
  type Saveable,
  saveSafetensors,
  type TensorInfo,
  toFloat32,
} from '../checkpoint/files.ts'
import type { SafetensorsEntry } from '../checkpoint/safetensors.ts'
import type { AdamW } from '../optim/adamW.ts'
import type { LossScale } from '../optim/lossScale.ts'
import { type DataInfo, parseDataInfo, parseTraining, type TrainingState } from './metadata.ts'

/** What the training loop itself knows of a run's state. */
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

/** A checkpoint in memory: all of it is checked, its tensors are not yet in a model. */
export interface Checkpoint {
  path: string
  config: ModelConfig
  data: DataInfo | undefined
  /** Parameters by name; of a run that is to go on its optimizer's moments too. */
  tensors: ReadonlyMap<string, SafetensorsEntry>
}

/**
 * Reads a model's parameters; no device is needed. The config is compared with the tensors of the file before any is read, so that it can
 * ask for no more memory than the file is long.
 * @throws UserError in one line for a file that is missing, malformed, without a sound config or of other tensors than it says
 */
export async function readCheckpoint(path: string): Promise<Checkpoint> {
  return (await read(path, false)).checkpoint
}

/** What a run goes on from: a checkpoint with its training state. @throws UserError in one line, also when it has none */
export async function readRun(path: string): Promise<{ checkpoint: Checkpoint; state: TrainingState }> {
  const { checkpoint, state } = await read(path, true)
  return { checkpoint, state: state! }
}

async function read(path: string, resumes: boolean): Promise<{ checkpoint: Checkpoint; state: TrainingState | undefined }> {
  const file = await openSafetensors(path)
  try {
    const { names, ...checked } = named(path, () => check(file, resumes))
    const tensors = new Map<string, SafetensorsEntry>()
    for (const name of names) tensors.set(name, await file.read(name))
    return { checkpoint: { path, config: checked.config, data: checked.data, tensors }, state: checked.state }
  } finally {
    await file.close()
  }
}

/** The metadata of a file, and the names of the tensors that are to be read, once they fit each other. */
function check(file: OpenSafetensors, resumes: boolean) {
  const { config: json, data: info, training } = file.metadata
  if (json === undefined) throw new UserError('has no model config in its metadata; use a checkpoint that this project wrote')
  const config = parseConfig(json)
  const shapes = parameterShapes(config)
  checkOutlines(shapes, new Map([...file.tensors].filter(([name]) => !name.startsWith('optimizer.'))))
  const parameters = [...shapes.keys()]
  const data = info === undefined ? undefined : parseDataInfo(info, config)
  if (!resumes) return { config, data, names: parameters }
  if (training === undefined) throw new UserError("holds no training state; resume from a run's checkpoint.safetensors")
  const state = parseTraining(training, config, parameters)
  const moments = parameters.flatMap((name) => [M + name, V + name])
  for (const name of moments) checkMoment(name, file.tensors.get(name), shapes.get(name.slice(M.length))!.shape)
  return { config, data, state, names: [...parameters, ...moments] }
}

/** Runs `fn`; what the user can mend names the file. */
function named<T>(path: string, fn: () => T): T {
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

/** The model of a checkpoint, on the default device. */
export function modelOf({ config, tensors }: Checkpoint): Model {
  const model = createModel(config)
  model.loadStateDict(new Map([...tensors].filter(([name]) => !name.startsWith('optimizer.'))))
  return model
}

/** Puts the saved moments, step counts and loss scale back. */
export function restoreOptimizer(
  { tensors }: Checkpoint,
  optimizer: AdamW,
  { steps, lossScale }: Pick<TrainingState, 'steps' | 'lossScale'>,
): void {
  const state = optimizer.state()
  try {
    for (const [prefix, moments] of [
      [M, state.m],
      [V, state.v],
    ] as const) {
      for (const [name, t] of moments) t.write(toFloat32(tensors.get(prefix + name)!))
    }
  } finally {
    for (const t of [...state.m.values(), ...state.v.values()]) t.dispose()
  }
  optimizer.setSteps(steps)
  if (lossScale) optimizer.lossScale.restore(lossScale)
}
