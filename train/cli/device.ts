import { type Device, describe, requestDevice } from '../../engine/index.ts'
import type { Model } from '../../model/index.ts'
import { type Checkpoint, modelOf } from '../run/checkpoint.ts'

/** Says on stderr, in one line, which device was taken; after inputs were checked, so that an error stands alone. */
export function announce(device: Device): void {
  process.stderr.write(`${describe(device.summary)}\n`)
}

/** Runs `fn` with the model of a checkpoint on the device that `--adapter` means, and ends the device. */
export async function withModel<T>(
  checkpoint: Checkpoint,
  adapter: string | undefined,
  fn: (model: Model) => Promise<T>,
): Promise<T> {
  const device = await requestDevice({ adapter })
  try {
    const model = modelOf(checkpoint)
    announce(device)
    return await fn(model)
  } finally {
    device.destroy()
  }
}
