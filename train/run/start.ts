import { checkFunction, checkWhole, refusal } from '../../engine/base/checks.ts'
import { ArgumentError } from '../../engine/base/errors.ts'
import { checkOptions, type OptionNames } from '../../engine/base/options.ts'
import { Device, UserError } from '../../engine/index.ts'
import {
  branchShape,
  createModel,
  Ensemble,
  type Mode,
  type Model,
  type ModelConfig,
  ParaFormer,
  ViT,
} from '../../model/index.ts'
import type { BranchDevices } from '../devices/branchDevices.ts'
import { type DistributeOptions, distributeBranches } from '../devices/distribute.ts'
import type { ReplicaDevices } from '../devices/replicaDevices.ts'
import { replicate } from '../devices/replicate.ts'
import { AdamW } from '../optim/adamW.ts'
import { Ema } from '../optim/ema.ts'
import { makeOptimizer } from '../optim/kinds.ts'
import { LossScale } from '../optim/lossScale.ts'
import { instantiate, type SchemeDefinition, schemeOf } from '../schemes/index.ts'
import { modelConfigOf, type Settings } from '../settings.ts'
import { type Checkpoint, restoreOptimizer, type SavedRun, withPath } from './checkpoint.ts'
import { deviceSources } from './deviceImages.ts'
import { dryRun } from './dryRun.ts'
import { fastestMode } from './fastestMode.ts'
import { loadInitial } from './initFrom.ts'
import type { RunData } from './loaders.ts'
import { checkPosition } from './position.ts'
import { Trainer } from './trainer.ts'

export interface StartOptions {
  /** The scheme; default the one that the settings name. */
  scheme?: SchemeDefinition | undefined
  /** Makes the model on the default device, such as one of a class that extends the library's; default `createModel`. */
  createModel?: ((config: ModelConfig) => Model) | undefined
  /** The checkpoint whose parameters a run begins with, for fine-tuning (see `loadInitial`). */
  initial?: Checkpoint | undefined
  /** Mini-batches between saves; each epoch ends with a save too. */
  saveEvery: number
  /** Runs every op of every step on the host instead of replaying captured steps. */
  eager?: boolean
  /** Chooses the kernel variants of the device for a dry run of the work (see `tuneDevice`); default those that it has. */
  chooseVariants?: (work: () => void) => Promise<void>
  /** The other devices over which branches are distributed in mode `devices`, or to which a model without branches is copied. */
  devices?: Pick<DistributeOptions, 'others' | 'inProcess'>
  /** Is called with the milliseconds of a step in each mode when they were measured. */
  onMode?: (mode: Mode, measured: Record<Mode, number>) => void
}

const OPTIONS: OptionNames<StartOptions> = {
  scheme: true,
  createModel: true,
  initial: true,
  saveEvery: true,
  eager: true,
  chooseVariants: true,
  devices: true,
  onMode: true,
}

/**
 * Returns the config of the model for settings and a data set. No device is needed.
 * @param from the saved run that goes on, which must fit the settings and the data set
 * @param scheme the scheme; default the one that the settings name
 * @throws UserError when the saved run has another model, or a position that the run does not reach
 */
export function configOf(
  settings: Settings,
  { dataset, train }: RunData,
  from?: SavedRun,
  scheme = schemeOf(settings.scheme),
): ModelConfig {
  const config = modelConfigOf(settings, dataset)
  if (!from) return config
  const { checkpoint, state } = from
  for (const [key, value] of Object.entries(config)) {
    const found = checkpoint.config[key as keyof ModelConfig]
    if (found === value) continue
    throw new UserError(
      `${checkpoint.path}: its model has ${key} ${found}, its settings and data mean ${value}; use an intact checkpoint with its own data`,
    )
  }
  const made = instantiate(scheme, branchShape(config).branches)
  withPath(checkpoint.path, () => checkPosition(state.position, made, train.stepsPerEpoch))
  return config
}

/**
 * Makes a trainer at the first step of a run, or where a saved run left off. Mode `auto` becomes the fastest mode; in mode `devices`
 * the branches of each device run in the fastest mode, and a model without branches is copied to all devices.
 * @param device the default device
 * @param settings complete (see `checkSettings`)
 * @param from the saved run that goes on; one of a model that `options.createModel` makes is read by `readRun(path, { ownModel: true })`
 * @throws UserError in one line when settings, data and saved run do not fit together; ArgumentError for arguments of a wrong kind and
 *   unknown options
 */
export async function startTrainer(
  device: Device,
  settings: Settings,
  data: RunData,
  options: StartOptions,
  from?: SavedRun,
): Promise<Trainer> {
  checkArguments(device, settings, data, options, from)
  const { saveEvery, eager = false, chooseVariants, devices, onMode, scheme = schemeOf(settings.scheme) } = options
  device.random.seed = settings.seed
  const config = configOf(settings, data, from, scheme)
  const model = (options.createModel ?? createModel)(config)
  if (model.device !== device) {
    model.dispose()
    throw new ArgumentError('startTrainer: the model is on another device; make this one the default by setDefaultDevice()')
  }
  if (settings.mode === 'devices' && ![ParaFormer, ViT, Ensemble].some((own) => model.constructor === own)) {
    model.dispose()
    throw new UserError("--mode devices spreads the library's own models; use another mode for a class of your own")
  }
  if (from) model.loadStateDict(from.checkpoint.parameters)
  else if (options.initial) loadInitial(model, options.initial)
  model.precision = settings.precision
  model.recomputes = settings.recompute
  model.coalesces = settings.coalesce
  const lossScale = settings.precision === 'mixed' ? { lossScale: new LossScale({ device }) } : {}
  let optimizer = makeOptimizer(model.namedParameters(), { ...settings, ...lossScale })
  const ema = settings.ema ? new Ema(model.namedParameters(), { decay: settings.ema }) : undefined
  const { train, evaluation } = data
  await chooseVariants?.(() => dryRun(device, model, optimizer, settings, scheme))
  const { mode: asked } = settings
  let mode: Mode
  if (asked === 'auto' || asked === 'devices') {
    const batch = Math.ceil(settings.batchSize / settings.accumulate)
    const found = await fastestMode({ device, model, scheme, batch })
    mode = found.mode
    if (found.measured) onMode?.(mode, found.measured)
  } else mode = asked
  // The mode is saved, so that a resumed run takes the same one and has the same bits.
  const resolved = { ...settings, mode: asked === 'devices' ? asked : mode }
  if (from) restoreOptimizer(optimizer, from, ema)
  let distributed: BranchDevices | undefined
  let replicas: ReplicaDevices | undefined
  const places = { others: [device.request], ...devices, mode, eager }
  if (asked === 'devices' && !(model instanceof ParaFormer)) {
    replicas = await replicate(model, { ...places, optimizer, ema, scheme: scheme.name })
  } else if (asked === 'devices' && optimizer instanceof AdamW) {
    distributed = await distributeBranches(model, { ...places, optimizer })
    optimizer = distributed.optimizer
  }
  // Several devices take their images from the host.
  const onHost = distributed || replicas || settings.data === 'host'
  const sources = onHost ? undefined : deviceSources(model, data, settings.data === 'device')
  try {
    const trainer = new Trainer({
      device,
      model,
      optimizer,
      ema,
      train,
      evaluation,
      sources,
      settings: resolved,
      scheme,
      mode,
      distributed,
      replicas,
      saveEvery,
      eager,
    })
    if (from) trainer.resume(from.state)
    return trainer
  } catch (error) {
    await (distributed ?? replicas)?.close()
    throw error
  }
}

/** @throws ArgumentError for arguments of a wrong kind, and for unknown options */
function checkArguments(device: unknown, settings: unknown, data: RunData, options: StartOptions, from: unknown): void {
  const op = 'startTrainer'
  if (!(device instanceof Device)) throw refusal(op, device, 'a device', 'device')
  const complete = typeof settings === 'object' && settings !== null && 'batchSize' in settings && 'scheme' in settings
  if (!complete) throw refusal(op, settings, 'what checkSettings() gives', 'settings')
  if (typeof data?.train?.next !== 'function') throw refusal(op, data, 'what openData() gives', 'data')
  checkOptions(op, options ?? null, OPTIONS)
  checkWhole(op, options.saveEvery, 'saveEvery')
  if (options.createModel !== undefined) checkFunction(op, options.createModel, 'createModel')
  const saved = typeof from === 'object' && from !== null && 'checkpoint' in from && 'state' in from
  if (from !== undefined && !saved) throw refusal(op, from, 'what readRun() gives', 'from')
}
