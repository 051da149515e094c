import { type Device, UserError } from '../../engine/index.ts'
import { branchShape, createModel, type Mode, type ModelConfig } from '../../model/index.ts'
import type { BranchDevices } from '../devices/branchDevices.ts'
import { type DistributeOptions, distributeBranches } from '../devices/distribute.ts'
import { AdamW } from '../optim/adamW.ts'
import { LossScale } from '../optim/lossScale.ts'
import { makeScheme, type SchemeDefinition, schemeOf } from '../schemes/index.ts'
import { modelConfigOf, type Settings } from '../settings.ts'
import { modelOf, restoreOptimizer, type SavedRun, withPath } from './checkpoint.ts'
import type { RunData } from './data.ts'
import { dryRun } from './dryRun.ts'
import { fastestMode } from './fastestMode.ts'

import { checkPosition } from './position.ts'
import { Trainer } from './trainer.ts'

export interface StartOptions {
  /** The scheme; default the one that the settings name. */
  scheme?: SchemeDefinition | undefined
  /** Mini-batches between saves; each epoch ends with a save too. */
  saveEvery: number
  /** Runs every op of every step on the host instead of replaying captured steps. */
  eager?: boolean
  /** Chooses the kernel variants of the device for a dry run of the work (see `tuneDevice`); default those that it has. */
  chooseVariants?: (work: () => void) => Promise<void>
  /** The other devices over which branches are distributed in mode `devices`. */
  devices?: Pick<DistributeOptions, 'others' | 'inProcess'>
  /** Is called with the milliseconds of a step in each mode when they were measured. */
  onMode?: (mode: Mode, measured: Record<Mode, number>) => void
}

/**
 * Returns the config of the model for settings and a data set. No device is needed.
 * @param from the saved run that goes on, which must fit both
 * @throws UserError when that has another model, or a position that the run does not reach
 */
export function configOf(settings: Settings, { dataset, train }: RunData, from?: SavedRun): ModelConfig {
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
  const scheme = makeScheme(settings.scheme, branchShape(config).branches)
  withPath(checkpoint.path, () => checkPosition(state.position, scheme, train.stepsPerEpoch))
  return config
}

/**
 * Makes a trainer at the first step of a run, or where a saved run left off. Mode `auto` becomes the fastest mode; in mode `devices`
 * the branches of each device run in the fastest mode.
 */
export async function startTrainer(
  device: Device,
  settings: Settings,
  data: RunData,
  { saveEvery, eager = false, chooseVariants, devices, onMode, scheme = schemeOf(settings.scheme) }: StartOptions,
  from?: SavedRun,
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
  if (from) restoreOptimizer(optimizer, from)
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
      scheme,
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
