import { checkBoolean, refusal } from '../../engine/base/checks.ts'
import { checkOptions, type OptionNames } from '../../engine/base/options.ts'
import { type DeviceRequest, UserError } from '../../engine/index.ts'
import { checkRequest } from '../../engine/platform/types.ts'
import { withArticle } from '../../model/config.ts'
import { MODES, type Model, type ModelConfig, Module, ParaFormer } from '../../model/index.ts'
import { isStem, partOf, readState, restoreMoments } from '../modelState.ts'
import { AdamW } from '../optim/adamW.ts'
import { BranchDevices } from './branchDevices.ts'
import type { BranchWorker } from './branchWorker.ts'
import type { Pulse } from './heartbeat.ts'
import { LocalBranches, type RunOptions } from './localBranches.ts'
import { type BranchWorkerSpec, LocalBranchWorker } from './localBranchWorker.ts'
import type { ReplicaSpec } from './localReplica.ts'
import { RemoteBranchWorker } from './remoteBranchWorker.ts'
import type { ReplicaWorker } from './replicaWorker.ts'

/** The largest number of devices; more are surely a mistake. */
export const MAX_DEVICES = 64

/** A device of another machine, which opens a worker or a replica there. */
export interface ElsewhereDevice {
  /** @internal */
  open(spec: BranchWorkerSpec): Promise<BranchWorker>
  /** @internal */
  openReplica(spec: ReplicaSpec): Promise<ReplicaWorker>
}

export interface DistributeOptions extends RunOptions {
  /** Places of devices 1, 2, …: requests on this machine, or places elsewhere; device 0 is the model's own. */
  others: readonly (DeviceRequest | ElsewhereDevice)[]
  /** Keeps all devices in this process, so that images need not be copied; default a process for each. */
  inProcess?: boolean | undefined
  /** The optimizer of the whole model, whose state and hyperparameters are taken over; default a fresh AdamW. */
  optimizer?: AdamW
  /** The pulse by which other processes show that they are alive; default every 5 s, lost after 12 misses. */
  pulse?: Pulse
}

const OPTIONS: OptionNames<DistributeOptions> = {
  mode: true,
  eager: true,
  others: true,
  inProcess: true,
  optimizer: true,
  pulse: true,
}

/** Whether a place is on another machine. */
export function isElsewhere(other: DeviceRequest | ElsewhereDevice): other is ElsewhereDevice {
  return typeof (other as Partial<ElsewhereDevice> | undefined)?.open === 'function'
}

/** @throws ArgumentError unless `model` is a model, for unknown options, and for options of a wrong kind */
function checkArguments(model: unknown, options: DistributeOptions): void {
  if (!(model instanceof Module)) throw refusal('distributeBranches', model, 'a ParaFormer', 'model')
  checkOptions('distributeBranches', options ?? null, OPTIONS)
  const { others, inProcess = false, optimizer, eager = false, mode = 'serial' } = options
  if (!Array.isArray(others) || others.length === 0) {
    throw refusal('distributeBranches', others, 'what each other device is opened with, such as [{ adapter }]', 'others')
  }
  for (const other of others) if (!isElsewhere(other)) checkRequest('distributeBranches', other)
  checkBoolean('distributeBranches', inProcess, 'inProcess')
  checkBoolean('distributeBranches', eager, 'eager')
  if (!MODES.includes(mode)) throw refusal('distributeBranches', mode, `one of ${MODES.join(', ')}`, 'mode')
  if (optimizer !== undefined && !(optimizer instanceof AdamW)) {
    throw refusal('distributeBranches', optimizer, 'an AdamW', 'optimizer')
  }
}

/**
 * Distributes the branches of a model over its own device and others: branch i goes to device i mod n. The model keeps stem, head and
 * the branches of device 0, whose parameters stay the same Tensor objects. `options.optimizer` is disposed; the result has its own.
 * When a device is lost, all calls reject with DeviceLostError: `close()` the result, and distribute a model again from a `state()`.
 * @throws UserError in one line when the model has fewer branches than there are devices, or a device cannot be opened; nothing has
 *   changed then; ArgumentError for unknown options and options of a wrong kind
 */
export async function distributeBranches(model: Model, options: DistributeOptions): Promise<BranchDevices> {
  checkArguments(model, options)
  const { others, inProcess = false, optimizer, pulse, ...how } = options
  const devices = others.length + 1
  checkDistribution(model.config, devices)
  if (!(model instanceof ParaFormer)) throw new Error('no ParaFormer')
  const { config, precision, recomputes, coalesces, branches } = model
  const state = await readState({ model, optimizer })
  const stem = partOf(state, isStem).parameters
  const adamW = optimizer?.settings ?? {}
  const scale = optimizer && (await optimizer.lossScale.copy())
  const tuned = model.posEmbedding.device.kernels.tuned?.toJSON()
  const opening = others.map((other, i) => {
    const index = i + 1
    const own = [...branches.keys()].filter((branch) => branch % devices === index)
    const part = partOf(state, (name) => own.some((branch) => name.startsWith(`branches.${branch}.`)))
    const request = isElsewhere(other) ? {} : other
    const shared = { request, config, stem, adamW, precision, recomputes, coalesces, how, tuned }
    const spec: BranchWorkerSpec = { ...shared, index, own, branches: part }
    if (isElsewhere(other)) return other.open(spec)
    return inProcess ? LocalBranchWorker.open(spec) : RemoteBranchWorker.open(spec, { pulse })
  })
  const workers = await allOrNone(opening)
  optimizer?.dispose()
  for (const i of branches.keys()) {
    if (i % devices === 0) continue
    branches[i]!.dispose()
    // A hole is left, so that later branches keep their names.
    delete branches[i]
  }
  const local = new LocalBranches(model, adamW, how, scale)
  if (optimizer)
    restoreMoments(
      local.optimizer,
      partOf(state, (name) => Object.hasOwn(model.stateDict(), name)),
    )
  return new BranchDevices(local, workers)
}

/** @throws UserError when a model of this config cannot be distributed over this number of devices */
export function checkDistribution(config: ModelConfig, devices: number): void {
  if (config.architecture !== 'paraformer') {
    throw new UserError(`${withArticle(config.architecture)} has no branches to spread; use another mode than devices`)
  }
  const { branches } = config
  if (branches < devices) {
    throw new UserError(`${branches} branches cannot be spread over ${devices} devices; use at most ${branches}`)
  }
}

/** Waits for all workers; when one cannot be opened, the others are closed. */
export async function allOrNone<T extends { close(): Promise<void> }>(opening: readonly Promise<T>[]): Promise<T[]> {
  const settled = await Promise.allSettled(opening)
  const workers = settled.flatMap((result) => (result.status === 'fulfilled' ? [result.value] : []))
  const failed = settled.find((result) => result.status === 'rejected')
  if (!failed) return workers
  await Promise.all(workers.map((worker) => worker.close()))
  throw failed.reason
}
