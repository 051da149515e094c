import type { Tune } from '../../engine/autotune/tune.ts'
import { type Device, describe, requestDevice, requireFloat16 } from '../../engine/index.ts'
import type { Model, Precision } from '../../model/index.ts'
import type { BranchDevices } from '../devices/branchDevices.ts'
import { distributeBranches } from '../devices/distribute.ts'
import { type Checkpoint, modelOf } from '../run/checkpoint.ts'
import { lossBehind } from '../run/throughLosses.ts'
import { type DistributeFlags, distributionLine, placementOf } from './distribute.ts'
import { say } from './printable.ts'
import { tune } from './tune.ts'

/** @throws UserError for `--precision mixed` on a device without float16 */
export function checkPrecision(precision: Precision, device: Device): void {
  if (precision === 'mixed') requireFloat16('--precision mixed', device, 'use --precision f32 or another --adapter')
}

/** Says on stderr, in one line, which device was taken; after inputs were checked, so that an error stands alone. */
export function announce(device: Device): void {
  say(describe(device.summary))
}

/**
 * Runs `fn` with the model of a checkpoint in `--precision` on the device that `--adapter` means, with the variants that `--tune` means, spread over
 * several devices where flags say so, and ends the devices.
 * @param dryRun does what `fn` is going to do, see `tuneDevice()`
 */
export async function withModel<T>(
  checkpoint: Checkpoint,
  flags: DistributeFlags & { mode: string; precision: Precision; tune?: Tune | undefined },
  dryRun: (model: Model) => void,
  fn: (model: Model, distributed?: BranchDevices) => Promise<T>,
): Promise<T> {
  const { first, ...devices } = placementOf(flags.mode, flags, checkpoint.config)
  const device = await requestDevice(first)
  let distributed: BranchDevices | undefined
  try {
    checkPrecision(flags.precision, device)
    const model = modelOf(checkpoint)
    model.precision = flags.precision
    announce(device)
    await tune(device, flags.tune, () => dryRun(model))
    if (flags.mode === 'devices') distributed = await distributeBranches(model, devices)
    if (distributed) say(distributionLine(distributed))
    return await fn(model, distributed)
  } catch (error) {
    throw (await lossBehind(error, device)) ?? error
  } finally {
    await distributed?.close()
    device.destroy()
  }
}
