import { deviceKey } from '../../engine/autotune/store.ts'
import { requestDevice, UserError } from '../../engine/index.ts'
import type { Dataset } from '../../train/data/dataset.ts'
import { loadersOf } from '../../train/run/loaders.ts'
import type { Settings } from '../../train/settings.ts'
import { BUILD } from '../../train/study/plan/build.ts'
import type { Check } from '../../train/study/run/check.ts'
import { firstNumbers, short } from '../../train/study/run/firstNumbers.ts'
import type { JobHooks } from '../../train/study/run/processes.ts'
import { hashOf } from './hash.ts'

/**
 * Trains the first mini-batches of an arm twice, each time on a device of its own, and compares the bits.
 * @param study hash of the study file
 * @returns undefined when it should stop
 * @throws UserError when the bits differ
 */
export async function checkDevice(
  study: string,
  arm: string,
  settings: Settings,
  dataset: Dataset,
  hooks: JobHooks,
): Promise<Check | undefined> {
  const once = async () => {
    const device = await requestDevice()
    try {
      const checked = short(settings)
      const { numbers, seconds } = await firstNumbers(device, checked, loadersOf(dataset, checked))
      return { summary: device.summary, bits: await hashOf(...numbers), seconds }
    } finally {
      device.destroy()
    }
  }
  const first = await once()
  if (hooks.signal.aborted) return undefined
  const { summary, bits, seconds } = await once()
  if (hooks.signal.aborted) return undefined
  const { name: adapter, driver } = summary
  if (bits !== first.bits)
    throw new UserError(`arm ${arm}: the same seed twice gives different bits on ${adapter}; its runs would not count`)
  hooks.note(`${adapter}: the same seed twice gives the same bits in arm ${arm}`)
  const at = new Date().toISOString()
  return { device: deviceKey(summary), adapter, driver, sources: BUILD.sources, study, at, arms: { [arm]: { bits, seconds } } }
}
