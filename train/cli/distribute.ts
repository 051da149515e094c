import { type Command, Option } from 'commander'
import { type DeviceRequest, UserError } from '../../engine/index.ts'
import type { ModelConfig } from '../../model/index.ts'
import { checkDistribution, type ElsewhereDevice, MAX_DEVICES } from '../devices/distribute.ts'
import { ReplicaDevices } from '../devices/replicaDevices.ts'
import { BranchHosts } from '../fleet/branches/asker.ts'
import { checkName } from '../fleet/names.ts'
import type { SeveralDevices } from '../run/trainerParts.ts'
import { addFleetOptions, type FleetFlags, openFleet } from './fleetOptions.ts'
import { say } from './printable.ts'

/** Flags of commands that can distribute branches over devices. */
export interface DistributeFlags extends FleetFlags {
  adapter?: string
  devices?: string
  inProcess?: boolean
  floats?: 'f32' | 'f16'
}

/** A host of a fleet, or any that is free. */
export interface FleetPlace {
  host: string | undefined
}

/** The devices to open. */
export interface Placement {
  /** Request of device 0. */
  first: DeviceRequest
  /** Places of the other devices, in mode `devices`: requests on this machine, or hosts of a fleet. */
  others: readonly (DeviceRequest | FleetPlace)[]
  inProcess: boolean
}

const DEFAULT_DEVICES = 2

/** Adds `--devices` and `--in-process`. */
export function addDistributeFlags(command: Command): Command {
  return addFleetOptions(command, 'server of the hosts that --devices names, such as nats://localhost:4222')
    .option(
      '--devices <n or names>',
      `with --mode devices: on how many devices of the adapter branches live, or copies of a model without branches (default: ${DEFAULT_DEVICES}), or names of adapters, a,b,c; here is that of --adapter, and after the first, fleet or fleet:NAME is a host of --fleet`,
    )
    .option('--in-process', 'with --mode devices: all devices in this process, instead of a process for each but the first')
    .addOption(
      new Option('--floats <name>', 'numbers on the way to hosts of a fleet: f32, or f16, half the bytes of rows and gradients')
        .choices(['f32', 'f16'])
        .default('f32'),
    )
}

/**
 * Returns the devices that flags ask for.
 * @param trains whether the model is to be trained: then one without branches is copied to all devices
 * @throws UserError for flags that contradict each other or do not fit the model
 */
export function placementOf(mode: string, flags: DistributeFlags, config: ModelConfig, trains = false): Placement {
  const placement = parse(mode, flags)
  const copied = trains && config.architecture !== 'paraformer'
  if (mode === 'devices' && !copied) checkDistribution(config, placement.others.length + 1)
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
  const requests = names.split(',').map((name) => placeOf(name.trim(), first))
  if (requests.length < 2 || requests.some((request) => 'adapter' in request && request.adapter === '')) {
    throw new UserError(
      `--devices ${JSON.stringify(names)} is neither a number nor several names; use 2, or lavapipe,swiftshader`,
    )
  }
  const [device0, ...others] = requests as [DeviceRequest | FleetPlace, ...(DeviceRequest | FleetPlace)[]]
  if ('host' in device0)
    throw new UserError(`--devices ${names}: the first device is this machine's; begin with the name of an adapter`)
  return { first: device0, others, inProcess }
}

function placeOf(name: string, here: DeviceRequest): DeviceRequest | FleetPlace {
  if (name === 'here') return here
  if (name === 'fleet') return { host: undefined }
  return name.startsWith('fleet:') ? { host: checkName(name.slice(6), '--devices fleet:') } : { adapter: name }
}

/** Devices that are open to branches, and the fleet that some of them belong to. */
export interface OpenPlaces {
  devices: { others: readonly (DeviceRequest | ElsewhereDevice)[]; inProcess: boolean }
  /** Undefined where all devices are of this machine. */
  hosts: BranchHosts | undefined
  close(): Promise<void>
}

/** Reaches the fleet that devices belong to. @throws UserError when none is named, or it cannot be reached */
export async function openPlaces({ others, inProcess }: Omit<Placement, 'first'>, flags: DistributeFlags): Promise<OpenPlaces> {
  const isFleet = (other: DeviceRequest | FleetPlace): other is FleetPlace => 'host' in other
  const { fleet, floats } = flags
  if (!others.some(isFleet)) {
    if (fleet !== undefined && flags.devices !== undefined)
      throw new UserError('--fleet goes with a device of it; name one, such as --devices lavapipe,fleet')
    return { devices: { others: others as readonly DeviceRequest[], inProcess }, hosts: undefined, close: async () => {} }
  }
  if (fleet === undefined)
    throw new UserError('a device of a fleet needs its server; name it with --fleet, such as nats://localhost:4222')
  const store = await openFleet({ ...flags, fleet }, 'coordinator', true, say)
  const hosts = new BranchHosts(store, { halves: floats === 'f16', note: say })
  return {
    devices: { others: others.map((other) => (isFleet(other) ? hosts.device(other.host) : other)), inProcess },
    hosts,
    close: () => store.close(),
  }
}

/** Describes in one line where branches live, or copies of the model. */
export function distributionLine(several: SeveralDevices): string {
  if (several instanceof ReplicaDevices) {
    const names = ['this one', ...several.workers.map(({ name }) => name)]
    return `each of ${names.length} devices has a copy of the model and a slice of every mini-batch: ${names.join('; ')}`
  }
  const { workers, model } = several
  const here = Object.keys(model.branches).map(Number)
  const places = [['this one', here] as const, ...workers.map(({ name, own }) => [name, own] as const)]
  const words = places.map(([name, own]) => `${own.map((i) => i + 1).join(', ')} on ${name}`)
  return `branches live on ${places.length} devices: ${words.join('; ')}`
}
