import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { requestDevice } from '../../engine/index.ts'
import { announce } from '../../train/cli/device.ts'
import { table } from '../../train/cli/table.ts'
import { BranchHosts } from '../../train/fleet/branches/asker.ts'
import { connectFleet } from '../../train/fleet/connect.ts'
import { presentWorkers } from '../../train/fleet/presence.ts'
import { credentialsOf, writeServerFolder } from '../../train/fleet/server.ts'
import { FleetStore } from '../../train/fleet/store.ts'
import { quantiles } from '../statistics.ts'
import { KIND_NAMES, type Kind } from './kinds.ts'
import { type LinkSettings, Namespaces, requireNamespaces } from './namespaces.ts'
import { type Phase, predictStep, type StepTime, stepTime } from './predict.ts'
import { beginTraining } from './trainings.ts'

const HOSTS = 2
const PORT = 4222
/** Steps over a link before another one has its turn, and those before them that bring the windows of the connections to where they stay. */
const ROUND = 5
const WARM_UP = 2

export interface FleetLinkFlags {
  preset: string
  batch: number
  kinds: Kind[]
  steps: number
  delay: number
  /** Percent. */
  loss: number
  /** Mbit/s; default no limit. */
  rate?: number
  adapter?: string
  json?: boolean
}

/** A training step over hosts behind a link. */
export interface FleetLinkRow extends LinkSettings {
  kind: Kind
  /** Milliseconds of a step: predicted from the median without delay, losses and limit, and measured. */
  predicted: StepTime
  measured: StepTime
  /** Bytes that each host's device sent and received in a step, heads of packets and what was sent again included. */
  bytesOfHost: number
  /** Whether all losses are those over processes of this machine, to the bit. */
  same: boolean
}

/** Runs `paraformer bench fleet link`. */
export async function benchFleetLink(flags: FleetLinkFlags): Promise<void> {
  await requireNamespaces()
  const folder = await mkdtemp(join(tmpdir(), 'paraformer-bench-link-'))
  const device = await requestDevice({ adapter: flags.adapter })
  let spaces: Namespaces | undefined
  let store: FleetStore | undefined
  try {
    announce(device)
    spaces = await Namespaces.begin(HOSTS)
    const workers = Array.from({ length: HOSTS }, (_, i) => ({ name: `w${i + 1}`, class: 'cpu' as const }))
    const roles = [{ name: 'coordinator' }, ...workers]
    const config = await writeServerFolder({ folder, host: '0.0.0.0', port: PORT, roles })
    await spaces.startServer(config, join(folder, 'server.log'), PORT)
    const address = { url: `nats://${spaces.server}:${PORT}`, auth: credentialsOf(folder, 'coordinator') }
    store = await FleetStore.open(await connectFleet(address, 'coordinator', () => {}), true)
    for (const [i, { name }] of workers.entries()) {
      const where = ['--fleet', `nats://${spaces.serverOf(i + 1)}:${PORT}`, '--auth', credentialsOf(folder, name)]
      const adapter = flags.adapter === undefined ? [] : ['--adapter', flags.adapter]
      const args = ['worker', '--branches', ...where, '--name', name, '--work', join(folder, name), ...adapter]
      spaces.start(i + 1, process.execPath, [process.argv[1]!, ...args]).stderr!.resume()
    }
    while ((await presentWorkers(store.workers)).length < HOSTS) await new Promise((resolve) => setTimeout(resolve, 100))
    const rows: FleetLinkRow[] = []
    for (const kind of flags.kinds) rows.push(...(await measure(spaces, store, kind, flags)))
    if (flags.json) return console.log(JSON.stringify(rows, null, 2))
    const cells = rows.map((row) => [
      ...[KIND_NAMES[row.kind], `${row.delay}`, `${100 * row.loss}`, row.rate === 0 ? '' : `${row.rate}`],
      ...[row.predicted.median.toFixed(0), row.measured.median.toFixed(0)],
      `${(row.predicted.median / row.measured.median).toFixed(2)}x`,
      ...[row.predicted.mean.toFixed(0), `${row.measured.mean.toFixed(0)} ± ${row.measured.error.toFixed(0)}`],
      ...[(row.bytesOfHost / 1e6).toFixed(3), row.same ? 'yes' : 'NO'],
    ])
    const head = [
      '',
      'delay, ms',
      'loss, %',
      'Mbit/s',
      'predicted, ms',
      'measured, ms',
      'ratio',
      'MB a step a host',
      'same losses',
    ]
    console.log(table(head, cells))
  } finally {
    await store?.close()
    await spaces?.end()
    device.destroy()
    await rm(folder, { recursive: true, force: true })
  }
}

async function measure(spaces: Namespaces, store: FleetStore, kind: Kind, flags: FleetLinkFlags): Promise<FleetLinkRow[]> {
  const { preset, batch, steps, delay, loss, rate = 0, adapter } = flags
  const none = { delay: 0, loss: 0, rate: 0 }
  const links: LinkSettings[] = [none, { ...none, delay }, { delay, loss: loss / 100, rate: 0 }]
  if (rate > 0) links.push({ delay, loss: 0, rate }, { delay, loss: loss / 100, rate })
  const rounds = Math.ceil(steps / ROUND)
  // Links take turns, since other work on this machine comes and goes; but the window that losses leave would be that of a link without any.
  const [without, having] = [links.filter((link) => link.loss === 0), links.filter((link) => link.loss > 0)]
  const turns = [without, [none, ...having]].flatMap((group) => Array.from({ length: rounds }, () => group).flat())
  const expected: number[] = []
  const others = Array.from({ length: HOSTS }, () => ({ adapter }))
  const near = await beginTraining(kind, preset, batch, others)
  while (expected.length < 2 + turns.length * (ROUND + WARM_UP)) expected.push((await near.step()).loss)
  await near.close()
  const places = new BranchHosts(store, { note: () => {} })
  const far = await beginTraining(
    kind,
    preset,
    batch,
    others.map(() => places.device()),
  )
  try {
    // The first steps compile and capture.
    for (let i = 0; i < 2; i++) await far.step()
    const found = links.map(() => ({ times: [] as number[], same: true, sent: 0, received: 0, wire: 0 }))
    const wire = async () => (await spaces.bytes(1)) + (await spaces.bytes(2))
    let done = 2
    for (const link of turns) {
      const of = found[links.indexOf(link)]!
      await spaces.set(link)
      const step = async () => {
        const { loss, ms } = await far.step()
        of.same &&= loss === expected[done++]
        return ms
      }
      for (let i = 0; i < WARM_UP; i++) await step()
      const before = { ...places.bytes, wire: await wire() }
      for (let i = 0; i < ROUND; i++) of.times.push(await step())
      of.sent += places.bytes.sent - before.sent
      of.received += places.bytes.received - before.received
      of.wire += (await wire()) - before.wire
    }
    const perHost = (bytes: number, of: number) => bytes / found[of]!.times.length / HOSTS
    const phases = phasesOf(kind, far.rows, perHost(found[0]!.sent, 0), perHost(found[0]!.received, 0))
    const local = quantiles(found[0]!.times).median
    return links.map((link, i) => {
      const { times, same, wire } = found[i]!
      const predicted = predictStep(local, phases, HOSTS, link)
      return { kind, ...link, measured: stepTime(times), same, predicted, bytesOfHost: perHost(wire, i) }
    })
  } finally {
    await spaces.set(none)
    await far.close()
  }
}

/**
 * Divides the bytes that go to and from a host in a step over the phases of the step. Over branches a host gets the stem, images and the
 * request of the forward pass, and answers with rows; then it gets their gradient, and answers with that of the stem. A replica
 * gets the parameters, images and the request, and answers with the gradient.
 * @param rows bytes of the rows of a host
 */
function phasesOf(kind: Kind, rows: number, down: number, up: number): Phase[] {
  if (kind === 'data') return [{ down, up }]
  return [
    { down: down - rows, up: rows },
    { down: rows, up: up - rows },
  ]
}
