// Training over hosts in network namespaces of their own, whose links have delay and losses and can be cut: the numbers of the mode devices,
// bytes counted on the wire, and training that goes on whatever ends. It needs root, ip, python3 and nats-server, and fails in one line without.
import type { ChildProcess } from 'node:child_process'
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import * as assert from 'uvu/assert'
import { Namespaces } from '../../bench/fleet/namespaces.ts'
import { connectFleet } from '../../train/fleet/connect.ts'
import { presentWorkers } from '../../train/fleet/presence.ts'
import { credentialsOf, writeServerFolder } from '../../train/fleet/server.ts'
import { FleetStore } from '../../train/fleet/store.ts'
import { runCli } from '../harness/cli.ts'
import { note, suite } from '../harness/suite.ts'
import { type Started, start } from './fleetOfTest.ts'

const CLI = fileURLToPath(new URL('./cli.js', import.meta.url))
const PORT = 4222
/** Hosts, and the namespace of each. */
const HOSTS = { h1: 1, h2: 2, h3: 2 } as const
const SIZES = ['--dim', '16', '--heads', '2', '--dim-head', '8', '--mlp-dim', '16', '--patch-size', '14', '--dropout', '0.1']
const SHAPE = ['--dataset', 'mnist', ...SIZES, '--mode', 'devices', '--test-images', '50']
const BRANCHES = ['--branches', '4', '--branch-depth', '1']
/** 120 mini-batches of 20 images. */
const LONG = [...SHAPE, ...BRANCHES, '--train-images', '1200', '--batch-size', '20', '--epochs', '2', '--save-every', '20']
/** The sizes of the preset quick, 9 mini-batches of 500 images. */
const QUICK = [
  '--preset',
  'quick',
  '--batch-size',
  '500',
  '--mode',
  'devices',
  '--train-images',
  '4500',
  '--test-images',
  '50',
  '--epochs',
  '1',
]

const { slow, run } = suite('training over hosts in namespaces of their own')
const work = mkdtempSync(join(tmpdir(), 'paraformer-namespaces-'))
const folder = join(work, 'server')
const logs = new Map<string, { text: string; child: ChildProcess }>()
let spaces: Namespaces | undefined

const modelOf = (out: string) => readFileSync(join(work, out, 'model.safetensors')).toString('base64')
const pause = (milliseconds: number) => new Promise((resolve) => setTimeout(resolve, milliseconds))

async function until(what: string, is: () => boolean | Promise<boolean>, seconds = 240): Promise<void> {
  const end = performance.now() + 1000 * seconds
  while (!(await is())) {
    if (performance.now() > end) throw new Error(`${what}: not within ${seconds} s`)
    await pause(20)
  }
}

function startHost(name: keyof typeof HOSTS): void {
  const where = ['--fleet', `nats://${spaces!.serverOf(HOSTS[name])}:${PORT}`, '--auth', credentialsOf(folder, name)]
  const args = [CLI, 'worker', '--branches', ...where, '--name', name, '--work', join(work, name)]
  const child = spaces!.start(HOSTS[name], process.execPath, args)
  const log = { text: '', child }
  child.stderr!.on('data', (text) => {
    log.text += text
  })
  logs.set(name, log)
}

/** Starts training over the fleet. */
function train(out: string, settings: readonly string[], devices: string, more: readonly string[] = []): Started {
  const fleet = ['--fleet', `nats://${spaces!.server}:${PORT}`, '--auth', credentialsOf(folder, 'coordinator')]
  return start(['train', ...settings, '--devices', devices, ...fleet, ...more, '--out', join(work, out)])
}

async function ended({ ended, stderr }: Started): Promise<string> {
  assert.is(await ended, 0, stderr())
  return stderr()
}

async function here(out: string, settings: readonly string[], devices: number): Promise<void> {
  const { code, stderr } = await runCli(['train', ...settings, '--devices', String(devices), '--out', join(work, out)])
  assert.is(code, 0, stderr)
}

/** Mini-batches that a run has written down. */
function stepsOf(out: string): number {
  const path = join(work, out, 'metrics.jsonl')
  const last = existsSync(path) ? readFileSync(path, 'utf8').trim().split('\n').at(-1) : undefined
  try {
    return last ? (JSON.parse(last) as { step: number }).step : 0
  } catch {
    // The last line is being written.
    return 0
  }
}

/** The hosts that had a session since their logs had these lengths. */
const asked = (before: ReadonlyMap<string, number>) =>
  [...logs].filter(([name, { text }]) => text.slice(before.get(name) ?? 0).includes(' begins')).map(([name]) => name)
const lengths = () => new Map([...logs].map(([name, { text }]) => [name, text.length]))

slow('a server and three hosts begin in three namespaces', async () => {
  spaces = await Namespaces.begin(2)
  const names = Object.keys(HOSTS) as (keyof typeof HOSTS)[]
  const roles = [{ name: 'coordinator' }, ...names.map((name) => ({ name, class: 'cpu' as const }))]
  const config = await writeServerFolder({ folder, host: '0.0.0.0', port: PORT, roles })
  await spaces.startServer(config, join(folder, 'server.log'), PORT)
  const address = { url: `nats://${spaces.server}:${PORT}`, auth: credentialsOf(folder, 'coordinator') }
  const store = await FleetStore.open(await connectFleet(address, 'coordinator', () => {}), true)
  for (const name of names) startHost(name)
  await until('hosts', async () => (await presentWorkers(store.workers)).length === names.length)
  await store.close()
})

for (const devices of [2, 4])
  slow(`${devices} processes have the bits of the mode devices, with less than 1 MB a step a branch on the wire`, async () => {
    await here(`quick-${devices}`, QUICK, devices)
    const bytes = async () => (await spaces!.bytes(1)) + (await spaces!.bytes(2))
    const where = ['here', ...Array(devices - 1).fill('fleet')].join()
    /** The bytes on the wire of a training, of which the state that hosts begin with and the evaluation do not depend on its steps. */
    const wire = async (out: string, steps: number) => {
      const before = await bytes()
      await ended(train(out, [...QUICK, '--max-steps', `${steps}`], where))
      assert.is(stepsOf(out), steps)
      return (await bytes()) - before
    }
    const elsewhere = devices === 2 ? 2 : 3
    const each = ((await wire(`quick-fleet-${devices}`, 9)) - (await wire(`quick-short-${devices}`, 3))) / 6 / elsewhere
    assert.ok(each < 1e6 && each > 0.2e6, `${(each / 1e6).toFixed(2)} MB a step a branch`)
    note(`${devices} processes: ${(each / 1e6).toFixed(3)} MB a step a branch on the wire`)
    assert.is(modelOf(`quick-fleet-${devices}`), modelOf(`quick-${devices}`))
  })

slow('a ViT by data parallelism over links with 20 ms of delay and 1 % of losses has the bits of three processes', async () => {
  const settings = [...SHAPE, '--architecture', 'vit', '--depth', '2', '--train-images', '400', '--batch-size', '50']
  await here('vit', settings, 3)
  await spaces!.set({ delay: 20, loss: 0.01, rate: 0 })
  await ended(train('vit-fleet', settings, 'here,fleet:h1,fleet:h2'))
  await spaces!.set({ delay: 0, loss: 0, rate: 0 })
  assert.is(modelOf('vit-fleet'), modelOf('vit'))
})

slow('a host that is killed at step 50 costs at most the steps since the last checkpoint', async () => {
  await here('long', LONG, 2)
  const before = lengths()
  const training = train('killed', LONG, 'here,fleet')
  await until('step 50', () => stepsOf('killed') >= 50)
  const reached = stepsOf('killed')
  const [host] = asked(before) as [keyof typeof HOSTS]
  logs.get(host)!.child.kill('SIGKILL')
  const said = await ended(training)
  const from = Number(/training goes on from mini-batch (\d+)/.exec(said)?.[1])
  // Metrics and checkpoints lag behind the steps by those that are in flight.
  assert.ok(from >= reached - 20 && from <= reached + 20, `from ${from} on, after ${reached}`)
  assert.is(modelOf('killed'), modelOf('long'))
  startHost(host)
})

slow('a host whose link is cut is replaced, and training ends by itself with the bits of an undisturbed run', async () => {
  const before = lengths()
  const training = train('cut', LONG, 'here,fleet')
  await until('step 30', () => stepsOf('cut') >= 30)
  const [host] = asked(before) as [keyof typeof HOSTS]
  await spaces!.cut(HOSTS[host])
  const said = await ended(training)
  assert.match(said, /does not answer any more; training goes on from mini-batch (20|40|60)/)
  assert.is(modelOf('cut'), modelOf('long'))
  await spaces!.join(HOSTS[host])
})

slow('a second trainer waits for a host that is taken, and gets it when the first one is killed', async () => {
  const first = train('first', LONG, 'here,fleet:h1')
  await until('the first trainer', () => stepsOf('first') >= 1)
  const second = train('second', LONG, 'here,fleet:h1')
  await until('the second trainer', () => second.stderr().includes('waiting for a host that is free'))
  assert.match(second.stderr(), /h1: it has branches already/)
  first.child.kill('SIGKILL')
  await ended(second)
  assert.is(modelOf('second'), modelOf('long'))
})

slow('ends', async () => {
  await spaces?.end()
  rmSync(work, { recursive: true, force: true })
})
run()
