import type { Command } from 'commander'
import { type DeviceRequest, UserError } from '../../engine/index.ts'
import type { ModelConfig } from '../../model/index.ts'
import type { BranchDevices } from '../devices/branchDevices.ts'
import { checkDistribution, MAX_DEVICES } from '../devices/distribute.ts'

/** Flags of commands that can distribute branches over devices. */
export interface DistributeFlags {
  adapter?: string
  devices?: string
  inProcess?: boolean
}

/** The devices to open. */
export interface Placement {
  /** Request of device 0. */
  first: DeviceRequest
  /** Requests of the other devices, in mode `devices`. */
  others: readonly DeviceRequest[]
  inProcess: boolean
}

const DEFAULT_DEVICES = 2

/** Adds `--devices` and `--in-process`. */
export function addDistributeFlags(command: Command): Command {
  return command
    .option(
      '--devices <n or names>',
      `with --mode devices: on how many devices of the adapter branches live (default: ${DEFAULT_DEVICES}), or names of adapters instead of --adapter, a,b,c`,
    )
    .option('--in-process', 'with --mode devices: all devices in this process, instead of a process for each but the first')
}

/** Returns the devices that flags ask for. @throws UserError for flags that contradict each other or do not fit the model */
export function placementOf(mode: string, flags: DistributeFlags, config: ModelConfig): Placement {
  const placement = parse(mode, flags)
  if (mode === 'devices') checkDistribution(config, placement.others.length + 1)
  return placement
}

function parse(mode: string, { adapter, devices, inProcess = false }: DistributeFlags): Placement {
  const first = { adapter }
  if (mode !== 'devices') {
    const flag = devices !== undefined ? '--devices' : inProcess ? '--in-process' : undefined
    if (flag) throw new UserError(`${flag} goes with --mode devices; add that, or leave it out`)
    return { first, others: [], inProcess }
  }
  const names = devices === undefined ? String(DEFAULT_DEVICES) : devices
  if (/^\d+$/.test(names.trim())) {
    const count = Number(names)
    if (!(count >= 2 && count <= MAX_DEVICES)) {
      throw new UserError(`--devices ${names} is not a number from 2 to ${MAX_DEVICES}; for one device use another --mode`)
    }
    return { first, others: Array.from({ length: count - 1 }, () => first), inProcess }
  }
  const requests = names.split(',').map((name) => ({ adapter: name.trim() }))
  if (requests.length < 2 || requests.some((request) => request.adapter === '')) {
    throw new UserError(
      `--devices ${JSON.stringify(names)} is neither a number nor several names; use 2, or lavapipe,swiftshader`,
    )
  }
  return { first: requests[0]!, others: requests.slice(1), inProcess }
}

/** Describes in one line where branches live. */
export function distributionLine({ workers, model }: BranchDevices): string {
  const here = Object.keys(model.branches).map(Number)
  const places = [['this one', here] as const, ...workers.map(({ name, own }) => [name, own] as const)]
  const words = places.map(([name, own]) => `${own.map((i) => i + 1).join(', ')} on ${name}`)
  return `branches live on ${places.length} devices: ${words.join('; ')}`
}
