import { TuningDatabase } from '../../engine/autotune/database.ts'
import { DeviceStore } from '../../engine/autotune/store.ts'
import { UserError } from '../../engine/base/errors.ts'
import { listAdapters } from '../../engine/platform/platform.ts'
import type { DeviceInfo } from '../protocol.ts'

/** Describes the device that the page computes on. @throws UserError where there is none */
export async function describeDevice(): Promise<DeviceInfo> {
  const [adapter] = await listAdapters()
  if (!adapter) throw new UserError('no WebGPU adapter: take a browser with WebGPU and turn hardware acceleration on')
  const { name, driver, software, features, limits, subgroupMinSize: min, subgroupMaxSize: max } = adapter
  const found = new TuningDatabase(await DeviceStore.open(adapter)).all()
  return {
    name,
    driver,
    software,
    features: [...features].sort(),
    limits,
    subgroups: max === 0 ? 'none' : min === max ? String(min) : `${min} to ${max}`,
    tuned: Object.fromEntries([...found].map(([task, { variant }]) => [task, variant])),
  }
}
