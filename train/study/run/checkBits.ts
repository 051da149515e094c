import { deviceKey } from '../../../engine/autotune/store.ts'
import { tuneDevice } from '../../../engine/autotune/tune.ts'
import { requestDevice } from '../../../engine/index.ts'
import { openData } from '../../run/data.ts'
import { configOf } from '../../run/start.ts'
import { hashOf } from '../plan/hash.ts'
import { armParts } from './armParts.ts'
import { firstNumbers, short } from './firstNumbers.ts'
import type { CheckJob, CheckReport } from './job.ts'

/** Trains each arm for a few mini-batches. @returns their bits; none on a device that is known */
export async function checkBits({ bundle, adapter, tune, arms, known }: CheckJob): Promise<CheckReport> {
  const device = await requestDevice({ adapter })
  try {
    const { name, driver } = device.summary
    const report = { device: deviceKey(device.summary), adapter: name, driver }
    if (known.includes(report.device)) return report
    const found: CheckReport['arms'] = {}
    for (const { arm, settings } of arms) {
      await tuneDevice(device, tune, () => {})
      const checked = short(settings)
      const data = await openData(checked)
      const own = await armParts(bundle, arm)
      const { numbers, seconds } = await firstNumbers(device, checked, data, own.options(device, configOf(checked, data)))
      found[arm] = { bits: hashOf(...numbers), seconds }
    }
    return { ...report, arms: found }
  } finally {
    device.destroy()
  }
}
