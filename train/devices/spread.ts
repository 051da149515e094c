import { type DeviceRequest, UserError } from '../../engine/index.ts'
import { type Model, ParaFormer } from '../../model/index.ts'
import { BranchDevices } from './branchDevices.ts'
import { LocalShard, type ShardSpec } from './localShard.ts'
import { isBranch, readEntries } from './partState.ts'
import { ProcessShard } from './processShard.ts'
import { type AdamWSettings, Residents } from './residents.ts'
import type { PartState, Shard } from './shard.ts'

export interface SpreadOptions {
  /** What devices 1, 2, … are opened with; device 0 is the model's own. */
  others: readonly DeviceRequest[]
  /** Keeps all devices in this process, so that images need not be copied; default a process for each. */
  inProcess?: boolean | undefined
  /** Of the optimizer; what is left out is AdamW's default. */
  adamW?: AdamWSettings
  /** What AdamW knows of the branches, where training goes on; that of device 0's parameters is to be put into `optimizer`. */
  optimizer?: Omit<PartState, 'parameters'> | undefined
}

/**
 * Spreads the branches of a model over its own device and others: branch i goes to device i mod n. The model keeps stem, head and the
 * branches of device 0; its parameters stay the same Tensor objects. An optimizer of the whole model is of no use afterwards.
 * @throws UserError in one line when the model has fewer branches than there are devices, or a device cannot be opened; the model
 *   is whole then
 */
export async function spreadBranches(
  model: Model,
  { others, inProcess = false, adamW = {}, optimizer }: SpreadOptions,
): Promise<BranchDevices> {
  const devices = others.length + 1
  const { branches } = model
  if (!(model instanceof ParaFormer)) throw new UserError('a vit has no branches to spread; use another mode than devices')
  if (branches.length < devices) {
    throw new UserError(`${branches.length} branches cannot be spread over ${devices} devices; use at most ${branches.length}`)
  }
  const device = model.posEmbedding.device
  const places = others.map((request, i) => ({ request, index: i + 1 }))
  const ownOf = (index: number) => [...branches.keys()].filter((i) => i % devices === index)
  const stem = await readEntries(model.namedParameters().filter(([name]) => !isBranch(name) && !name.startsWith('head.')))
  const opening = places.map(async ({ request, index }) => {
    const own = ownOf(index)
    const isOwn = ([name]: readonly [string, unknown]) => own.some((i) => name.startsWith(`branches.${i}.`))
    const { m, v, steps } = optimizer ?? { m: new Map(), v: new Map(), steps: {} }
    const state: PartState = {
      parameters: await readEntries(model.namedParameters().filter(isOwn)),
      m: new Map([...m].filter(isOwn)),
      v: new Map([...v].filter(isOwn)),
      steps,
    }
    const { config } = model
    const tuned = device.tuned?.toJSON()
    const spec: ShardSpec = { index, request, config, own, stem, branches: state, adamW, tuned }
    return (inProcess ? LocalShard : ProcessShard).open(spec)
  })
  const shards = await allOrNone(opening)
  for (const i of branches.keys()) {
    if (i % devices === 0) continue
    branches[i]!.dispose()
    // A hole: the branches behind it keep their names.
    delete branches[i]
  }
  return new BranchDevices(new Residents(model, adamW), shards)
}

/** All shards; where one cannot be opened, the others are closed. */
async function allOrNone(opening: readonly Promise<Shard>[]): Promise<Shard[]> {
  const settled = await Promise.allSettled(opening)
  const shards = settled.flatMap((one) => (one.status === 'fulfilled' ? [one.value] : []))
  const failed = settled.find((one) => one.status === 'rejected')
  if (!failed) return shards
  await Promise.all(shards.map((shard) => shard.close()))
  throw failed.reason
}
