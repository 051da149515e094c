import { type Device, UserError } from '../../engine/index.ts'
import { branchShape, createModel, type Mode, type ModelConfig } from '../../model/index.ts'
import type { BranchDevices } from '../devices/branchDevices.ts'
import { type DistributeOptions, distributeBranches } from '../devices/distribute.ts'
import { AdamW } from '../optim/adamW.ts'
import { LossScale } from '../optim/lossScale.ts'
import { makeScheme } from '../schemes.ts'
import { modelConfigOf, type Settings } from '../settings.ts'
import { type Checkpoint, modelOf, restoreOptimizer } from './checkpoint.ts'
import type { RunData } from './data.ts'
import { dryRun } from './dryRun.ts'
import { fastestMode } from './fastestMode.ts'
import type { TrainingState } from './metadata.ts'
import { checkPosition } from './position.ts'
import { Trainer } from './trainer.ts'

/** What a run goes on from. */
export interface Start {
  checkpoint: Checkpoint
  state: TrainingState
}

export interface StartOptions {
  /** Mini-batches between saves, besides those after each epoch. */
  saveEvery: number
  /** Runs every op of every step on the host instead of replaying captured steps. */
  eager?: boolean
  /** Decides which variants of kernels run, given what is going to be run (see `tuneDevice`); default the device's as they are. */
  chooseVariants?: (work: () => void) => Promise<void>
  /** What else than `device` branches are spread over in mode `devices`. */
  devices?: Pick<DistributeOptions, 'others' | 'inProcess'>
  /** Told how long a step takes in each mode, where that was measured. */
  onMode?: (mode: Mode, measured: Record<Mode, number>) => void
}

/**
 * The model that settings mean for a data set. No device is needed.
 * @param from what the run goes on from, which is compared with both
 * @throws UserError where that has another model, or a position that the run does not come by
 */
export function configOf(settings: Settings, { dataset, train }: RunData, from?: Start): ModelConfig {
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
  try {
    checkPosition(state.position, makeScheme(settings.scheme, branchShape(config).branches), train.stepsPerEpoch)
  } catch (error) {
    throw error instanceof UserError ? new UserError(`${checkpoint.path}: ${error.message}`) : error
  }
  return config
}

/**
 * A trainer at its first step, or where a checkpoint left off. Mode `auto` becomes the fastest one; in mode `devices` the branches of each
 * device run in that.
 */
export async function startTrainer(
  device: Device,
  settings: Settings,
  data: RunData,
  { saveEvery, eager = false, chooseVariants, devices, onMode }: StartOptions,
  from?: Start,
): Promise<Trainer> {
  device.random.seed = settings.seed
  const config = configOf(settings, data, from)
  const model = from ? modelOf(from.checkpoint) : createModel(config)
  model.precision = settings.precision
  model.recomputes = settings.recompute
  model.coalesces = settings.coalesce
  const { weightDecay } = settings
  const lossScale = settings.precision === 'mixed' ? { lossScale: new LossScale({ device }) } : {}
  let optimizer = new AdamW(model.namedParameters(), { weightDecay, ...lossScale })
  const { train, evaluation } = data
  await chooseVariants?.(() => dryRun(device, model, optimizer, settings))
  const { mode: asked } = settings
  let mode: Mode
  if (asked === 'auto' || asked === 'devices') {
    const batch = Math.ceil(settings.batchSize / settings.accumulate)
    const found = await fastestMode({ device, model, scheme: settings.scheme, batch })
    mode = found.mode
    if (found.measured) onMode?.(mode, found.measured)
  } else mode = asked
  // The mode is kept: a resumed run takes the same, for the same bits.
  const resolved = { ...settings, mode: asked === 'devices' ? asked : mode }
  if (from) restoreOptimizer(from.checkpoint, optimizer, from.state)
  let distributed: BranchDevices | undefined
  if (asked === 'devices') {
    distributed = await distributeBranches(model, { others: [device.request], ...devices, optimizer, mode, eager })
    optimizer = distributed.optimizer
  }
  try {
    const trainer = new Trainer({
      device,
      model,
      optimizer,
      train,
      evaluation,
      settings: resolved,
      mode,
      distributed,
      saveEvery,
      eager,
    })
    if (from) trainer.resume(from.state)
    return trainer
  } catch (error) {
    await distributed?.close()
    throw error
  }
}
