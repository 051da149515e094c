import { requestDevice } from '../../engine/index.ts'
import { announce } from '../../train/cli/device.ts'
import { table } from '../../train/cli/table.ts'
import { BranchHosts } from '../../train/fleet/branches/asker.ts'
import { quantiles } from '../statistics.ts'
import { KIND_NAMES, type Kind } from './kinds.ts'
import { OwnFleet } from './ownFleet.ts'
import { beginTraining } from './trainings.ts'

export interface FleetBranchesFlags {
  preset: string
  batch: number
  kinds: Kind[]
  hosts: number[]
  steps: number
  adapter?: string
  json?: boolean
}

/** Training steps over hosts of a fleet, beside processes of the mode `devices`. */
export interface FleetBranchesRow {
  kind: Kind
  devices: number
  floats: 'f32' | 'f16'
  parameters: number
  /** Milliseconds of a step over processes, and over the fleet. */
  processes: number
  fleet: number
  /** Median of the ratios step by step. */
  ratio: number
  /** Bytes on the wire of a step, and for each branch that lives elsewhere, or each replica. */
  bytes: number
  bytesOfOne: number
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
    for (const kind of flags.kinds)
      for (const hosts of flags.hosts)
        for (const floats of ['f32', 'f16'] as const) rows.push(await compare(fleet, flags, kind, hosts, floats))
    if (flags.json) return console.log(JSON.stringify(rows, null, 2))
    const cells = rows.map((row) => [
      ...[KIND_NAMES[row.kind], `${row.devices}`, row.floats, `${(row.parameters / 1e6).toFixed(3)}`],
      ...[row.processes.toFixed(1), row.fleet.toFixed(1), `${row.ratio.toFixed(2)}x`],
      ...[(row.bytes / 1e6).toFixed(3), (row.bytesOfOne / 1e6).toFixed(3), row.difference.toExponential(1)],
    ])
    const head = [
      '',
      'devices',
      'floats',
      'M parameters',
      'processes, ms',
      'fleet, ms',
      'ratio',
      'MB a step',
      'MB a step of each',
    ]
    console.log(table([...head, 'losses differ by'], cells))
    console.log('each: a branch elsewhere, or a copy of the ViT elsewhere')
  } finally {
    device.destroy()
    await fleet.end()
  }
}

async function compare(
  { store }: OwnFleet,
  { preset, batch, steps, adapter }: FleetBranchesFlags,
  kind: Kind,
  hosts: number,
  floats: 'f32' | 'f16',
): Promise<FleetBranchesRow> {
  const others = Array.from({ length: hosts }, () => ({ adapter }))
  const places = new BranchHosts(store, { halves: floats === 'f16', note: () => {} })
  const near = await beginTraining(kind, preset, batch, others)
  const far = await beginTraining(
    kind,
    preset,
    batch,
    others.map(() => places.device()),
  )
  try {
    // The first steps compile and capture.
    for (let i = 0; i < 2; i++) for (const training of [near, far]) await training.step()
    const before = places.bytes
    const found: { near: number; far: number; difference: number }[] = []
    for (let i = 0; i < steps; i++) {
      const [a, b] = [await near.step(), await far.step()]
      found.push({ near: a.ms, far: b.ms, difference: Math.abs(a.loss - b.loss) / Math.abs(a.loss) })
    }
    const { sent, received } = places.bytes
    const median = (pick: (one: (typeof found)[number]) => number) => quantiles(found.map(pick)).median
    const bytes = (sent + received - before.sent - before.received) / steps
    return {
      ...{ kind, devices: hosts + 1, floats, parameters: near.parameters },
      ...{ processes: median((one) => one.near), fleet: median((one) => one.far) },
      ...{ ratio: median((one) => one.far / one.near), bytes, bytesOfOne: bytes / far.elsewhere },
      difference: Math.max(...found.map(({ difference }) => difference)),
    }
  } finally {
    await Promise.all([near.close(), far.close()])
  }
}
