import type { Tune } from '../../engine/autotune/tune.ts'
import { type Device, describe, requestDevice } from '../../engine/index.ts'
import type { Model } from '../../model/index.ts'
import { type Checkpoint, modelOf } from '../run/checkpoint.ts'
import { tune } from './tune.ts'

/** Says on stderr, in one line, which device was taken; after inputs were checked, so that an error stands alone. */
export function announce(device: Device): void {
  process.stderr.write(`${describe(device.summary)}\n`)
}

/**
 * Runs `fn` with the model of a checkpoint on the device that `--adapter` means, with the variants that `--tune` means, and ends
 * the device.
 * @param rehearse does what `fn` is going to do, see `tuneDevice()`
 */
export async function withModel<T>(
  checkpoint: Checkpoint,
  flags: { adapter?: string | undefined; tune?: Tune | undefined },
  rehearse: (model: Model) => void,
  fn: (model: Model) => Promise<T>,
): Promise<T> {
  const device = await requestDevice({ adapter: flags.adapter })
  try {
    const model = modelOf(checkpoint)
    announce(device)
    await tune(device, flags.tune, () => rehearse(model))
    return await fn(model)
  } finally {
    device.destroy()
  }
}
