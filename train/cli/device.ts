import { type Command, Option } from 'commander'
import type { Tune } from '../../engine/autotune/tune.ts'
import { type Device, describe, requestDevice, requireFloat16 } from '../../engine/index.ts'
import { MODES, type Mode, type Model, type Precision } from '../../model/index.ts'
import type { BranchDevices } from '../devices/branchDevices.ts'
import { distributeBranches } from '../devices/distribute.ts'
import { type Checkpoint, modelOf } from '../run/checkpoint.ts'
import { deviceLossBehind } from '../run/restarts.ts'
import { addDistributeFlags, type DistributeFlags, distributionLine, openPlaces, placementOf } from './distribute.ts'
import { adapterOption, precisionOption, tuneOption } from './options.ts'
import { say } from './printable.ts'
import { tune } from './tune.ts'

/** @throws UserError for `--precision mixed` on a device without float16 */
export function checkPrecision(precision: Precision, device: Device): void {
  if (precision === 'mixed') requireFloat16('--precision mixed', device, 'use --precision f32 or another --adapter')
}

/** Says on stderr, in one line, which device is used. It comes after all input checks, so that an error stands alone. */
export function announce(device: Device): void {
  say(describe(device.summary))
}

/** Flags of commands that run the model of a checkpoint. */
export interface ModelFlags extends DistributeFlags {
  checkpoint: string
  mode: Mode | 'devices'
  precision: Precision
  tune?: Tune
  json?: boolean
}

/** Adds the flags of `ModelFlags` but `--checkpoint`. */
export function addModelFlags(command: Command): Command {
  return addDistributeFlags(command)
    .addOption(new Option('--mode <name>', 'how branches run').choices([...MODES, 'devices']).default('serial'))
    .addOption(precisionOption())
    .addOption(adapterOption())
    .addOption(tuneOption())
    .option('--json', 'print JSON')
}

/** Returns the mode in which the branches of each device run. */
export function modeOnDevice({ mode }: ModelFlags): Mode {
  return mode === 'devices' ? 'serial' : mode
}

/**
 * Runs `fn` with the model of a checkpoint in `--precision` on the device of `--adapter`, with the kernel variants of `--tune`,
 * distributed in mode `devices`, and ends the devices.
 * @param dryRun makes the dispatches of `fn`, see `tuneDevice()`
 */
export async function withModel<T>(
  checkpoint: Checkpoint,
  flags: ModelFlags,
  dryRun: (model: Model) => void,
  fn: (model: Model, distributed?: BranchDevices) => Promise<T>,
): Promise<T> {
  const { first, ...others } = placementOf(flags.mode, flags, checkpoint.config)
  const places = await openPlaces(others, flags)
  const device = await requestDevice(first).catch(async (error: unknown) => {
    await places.close()
    throw error
  })
  let distributed: BranchDevices | undefined
  try {
    checkPrecision(flags.precision, device)
    const model = modelOf(checkpoint)
    model.precision = flags.precision
    announce(device)
    await tune(device, flags.tune, () => dryRun(model))
    if (flags.mode === 'devices') distributed = await distributeBranches(model, places.devices)
    if (distributed) say(distributionLine(distributed))
    return await fn(model, distributed)
  } catch (error) {
    throw (await deviceLossBehind(error, device)) ?? error
  } finally {
    await distributed?.close()
    await places.close()
    device.destroy()
  }
}
