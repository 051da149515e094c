import { type DeviceRequest, UserError } from '../../engine/index.ts'
import type { Mode, Model } from '../../model/index.ts'
import type { SafetensorsEntry } from '../checkpoint/dtypes.ts'
import type { Ema } from '../optim/ema.ts'
import type { Optimizer } from '../optim/optimizer.ts'
import { SCHEME_NAMES, type SchemeName } from '../schemes/index.ts'
import { allOrNone, type ElsewhereDevice, isElsewhere } from './distribute.ts'
import type { Pulse } from './heartbeat.ts'
import { LocalReplica, type ReplicaSpec } from './localReplica.ts'
import { RemoteReplica } from './remoteReplica.ts'
import { ReplicaDevices } from './replicaDevices.ts'

export interface ReplicateOptions {
  /** Places of devices 1, 2, …: requests on this machine, or places elsewhere; device 0 is the model's own. */
  others: readonly (DeviceRequest | ElsewhereDevice)[]
  /** Keeps all devices in this process; default a process for each. */
  inProcess?: boolean | undefined
  /** The optimizer of the model. */
  optimizer: Optimizer
  /** Averages of the parameters, which are updated after each step. */
  ema?: Ema | undefined
  /** The name of a scheme with one objective. */
  scheme: string
  /** The mode in which members of an ensemble run; default `serial`. */
  mode?: Mode | undefined
  /** Runs every op of every pass on the host instead of replaying captured passes. */
  eager?: boolean | undefined
  pulse?: Pulse | undefined
}

/**
 * Copies a model to other devices for data parallelism. Model and optimizer stay as they are.
 * @throws UserError in one line when a device cannot be opened, or the scheme is one's own
 */
export async function replicate(model: Model, options: ReplicateOptions): Promise<ReplicaDevices> {
  const { others, inProcess = false, optimizer, ema, scheme, mode = 'serial', eager = false, pulse } = options
  if (!SCHEME_NAMES.includes(scheme as SchemeName))
    throw new UserError(`the processes of other devices do not know the scheme ${scheme}; use another mode than devices`)
  const { config, precision, recomputes, coalesces } = model
  const reads = model.namedParameters().map(async ([name, t]): Promise<[string, SafetensorsEntry]> => {
    return [name, { dtype: 'F32', shape: [...t.shape], data: await t.data() }]
  })
  const parameters = new Map(await Promise.all(reads))
  const tuned = model.device.kernels.tuned?.toJSON()
  const shared = { config, parameters, scheme: scheme as SchemeName, mode, eager, precision, recomputes, coalesces, tuned }
  const opening = others.map((other, i) => {
    const spec: ReplicaSpec = { ...shared, index: i + 1, request: isElsewhere(other) ? {} : other }
    if (isElsewhere(other)) return other.openReplica(spec)
    return inProcess ? LocalReplica.open(spec) : RemoteReplica.open(spec, { pulse })
  })
  const workers = await allOrNone(opening)
  return new ReplicaDevices(model, optimizer, workers, { ema, eager, lossScale: (await optimizer.lossScale.save()).scale })
}
