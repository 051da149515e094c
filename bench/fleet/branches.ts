import { requestDevice } from '../../engine/index.ts'
import { ParaFormer } from '../../model/index.ts'
import { announce } from '../../train/cli/device.ts'
import { table } from '../../train/cli/table.ts'
import type { BranchDevices } from '../../train/devices/branchDevices.ts'
import { distributeBranches } from '../../train/devices/distribute.ts'
import { BranchHosts } from '../../train/fleet/branches/asker.ts'
import { makeScheme } from '../../train/index.ts'
import { quantiles } from '../statistics.ts'
import { sizesOf } from '../streams/sizes.ts'
import { OwnFleet } from './ownFleet.ts'

export interface FleetBranchesFlags {
  preset: string
  batch: number
  hosts: number[]
  steps: number
  adapter?: string
  json?: boolean
}

/** Training steps over hosts of a fleet, beside processes of the mode `devices`. */
export interface FleetBranchesRow {
  devices: number
  floats: 'f32' | 'f16'
  /** Milliseconds of a step over processes, and over the fleet. */
  processes: number
  fleet: number
  /** Median of the ratios step by step. */
  ratio: number
  /** Bytes on the wire of a step, for each branch that lives elsewhere. */
  bytesOfBranch: number
  /** The largest difference of a loss from that over processes, relative to it. */
  difference: number
}

/** Runs `paraformer bench fleet branches`. */
export async function benchFleetBranches(flags: FleetBranchesFlags): Promise<void> {
  const most = Math.max(...flags.hosts)
  const fleet = await OwnFleet.begin(most)
  const device = await requestDevice({ adapter: flags.adapter })
  try {
    announce(device)
    const adapter = flags.adapter === undefined ? [] : ['--adapter', flags.adapter]
    for (let i = 1; i <= most; i++) await fleet.start(`w${i}`, ['--branches', ...adapter])
    const rows: FleetBranchesRow[] = []
    for (const hosts of flags.hosts)
      for (const floats of ['f32', 'f16'] as const) rows.push(await compare(fleet, flags, hosts, floats))
    if (flags.json) return console.log(JSON.stringify(rows, null, 2))
    const cells = rows.map((row) => [
      ...[`${row.devices}`, row.floats, row.processes.toFixed(1), row.fleet.toFixed(1), `${row.ratio.toFixed(2)}x`],
      ...[`${(row.bytesOfBranch / 1e6).toFixed(3)}`, row.difference.toExponential(1)],
    ])
    const head = ['devices', 'floats', 'processes, ms', 'fleet, ms', 'ratio', 'MB a step a branch', 'losses differ by']
    console.log(table(head, cells))
  } finally {
    device.destroy()
    await fleet.end()
  }
}

async function compare(
  { store }: OwnFleet,
  { preset, batch: B, steps, adapter }: FleetBranchesFlags,
  hosts: number,
  floats: 'f32' | 'f16',
): Promise<FleetBranchesRow> {
  const { paraformer: config } = sizesOf(preset, {})
  const first = new ParaFormer(config)
  const values = new Map(await Promise.all(first.namedParameters().map(async ([name, t]) => [name, await t.data()] as const)))
  const again = new ParaFormer(config)
  for (const [name, parameter] of again.namedParameters()) parameter.write(values.get(name) as Float32Array)
  const others = Array.from({ length: hosts }, () => ({ adapter }))
  const near = await distributeBranches(first, { others })
  const places = new BranchHosts(store, { halves: floats === 'f16', note: () => {} })
  const far = await distributeBranches(again, { others: others.map(() => places.device()) })
  try {
    const [objective] = makeScheme('joint', config.branches).passes[0]!
    const images = Float32Array.from(
      { length: B * config.channels * config.imageSize ** 2 },
      (_, i) => ((i * 2654435761) >>> 24) / 255,
    )
    const labels = Int32Array.from({ length: B }, (_, i) => (i * 7) % config.classes)
    const step = async (devices: BranchDevices) => {
      const began = performance.now()
      const [values] = devices.updates({ images, labels }, [{ objective: objective!, lr: 1e-3 }], { maxNorm: 1 })
      const { losses } = await values!
      return { loss: losses[0]!, ms: performance.now() - began }
    }
    // The first steps compile and capture.
    for (let i = 0; i < 2; i++) for (const devices of [near, far]) await step(devices)
    const before = places.bytes
    const found: { near: number; far: number; difference: number }[] = []
    for (let i = 0; i < steps; i++) {
      const [a, b] = [await step(near), await step(far)]
      found.push({ near: a.ms, far: b.ms, difference: Math.abs(a.loss - b.loss) / Math.abs(a.loss) })
    }
    const { sent, received } = places.bytes
    const elsewhere = far.workers.reduce((sum, { own }) => sum + own.length, 0)
    const median = (pick: (one: (typeof found)[number]) => number) => quantiles(found.map(pick)).median
    return {
      ...{ devices: hosts + 1, floats, processes: median((one) => one.near), fleet: median((one) => one.far) },
      ratio: median((one) => one.far / one.near),
      bytesOfBranch: (sent + received - before.sent - before.received) / steps / elsewhere,
      difference: Math.max(...found.map(({ difference }) => difference)),
    }
  } finally {
    await Promise.all([near.close(), far.close()])
  }
}
