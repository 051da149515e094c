import { spawn } from 'node:child_process'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { UserError } from '../../engine/index.ts'
import { connectFleet } from '../../train/fleet/connect.ts'
import { presentWorkers } from '../../train/fleet/presence.ts'
import { credentialsOf, type RunningServer, startServer, writeServerFolder } from '../../train/fleet/server.ts'
import { FleetStore } from '../../train/fleet/store.ts'

/** Milliseconds that the workers of a bench may take to be there. */
const START = 60_000

/** Ticks in a second of the clock by which Linux counts the time of a process. */
const TICKS = 100

/** What a server counted since it began. */
export interface ServerCounts {
  /** Messages and bytes in and out. */
  messages: number
  bytes: number
  /** Seconds of a core; NaN where the system does not say. */
  cpu: number
}

/** A server and workers of this machine that live as long as a bench. */
export class OwnFleet {
  readonly url: string
  readonly folder: string
  readonly store: FleetStore
  readonly #monitor: string
  readonly #server: RunningServer
  readonly #stops: (() => Promise<void>)[] = []

  /** Starts a server that knows so many workers, `w1` and on. @throws UserError without nats-server */
  static async begin(workers: number): Promise<OwnFleet> {
    const folder = await mkdtemp(join(tmpdir(), 'paraformer-bench-fleet-'))
    const [port, monitorPort] = [await freePort(), await freePort()]
    const names = Array.from({ length: workers }, (_, i) => ({ name: `w${i + 1}`, class: 'cpu' as const }))
    const config = await writeServerFolder({
      ...{ folder, host: '127.0.0.1', port, monitorPort },
      roles: [{ name: 'coordinator' }, ...names],
    })
    const server = await startServer(config, join(folder, 'server.log'), { host: '127.0.0.1', port })
    const url = `nats://127.0.0.1:${port}`
    const connection = await connectFleet({ url, auth: credentialsOf(folder, 'coordinator') }, 'coordinator', () => {})
    return new OwnFleet(folder, url, `http://127.0.0.1:${monitorPort}`, server, await FleetStore.open(connection, true))
  }

  private constructor(folder: string, url: string, monitor: string, server: RunningServer, store: FleetStore) {
    this.folder = folder
    this.url = url
    this.#monitor = monitor
    this.store = store
    this.#server = server
  }

  /** Starts a worker and waits until it is there. @param more flags of `paraformer worker` */
  async start(name: string, more: readonly string[]): Promise<void> {
    const flags = [
      '--fleet',
      this.url,
      '--auth',
      credentialsOf(this.folder, name),
      '--name',
      name,
      '--work',
      join(this.folder, name),
    ]
    const child = spawn(process.execPath, [process.argv[1]!, 'worker', ...flags, ...more], { stdio: 'ignore' })
    const ended = new Promise<void>((resolve) => child.on('exit', () => resolve()))
    this.#stops.push(async () => {
      child.kill('SIGTERM')
      await ended
    })
    const until = performance.now() + START
    for (;;) {
      const there = await presentWorkers(this.store.workers)
      if (there.some((worker) => worker.name === name)) return
      if (child.exitCode !== null || performance.now() > until) throw new UserError(`worker ${name} does not start`)
      await new Promise((resolve) => setTimeout(resolve, 100))
    }
  }

  /** Reads what the server counted so far. */
  async counts(): Promise<ServerCounts> {
    const found = (await (await fetch(`${this.#monitor}/varz`)).json()) as Record<string, number>
    const { in_msgs, out_msgs, in_bytes, out_bytes } = found
    const stat = await readFile(`/proc/${this.#server.pid}/stat`, 'utf8').catch(() => '')
    const [user, system] = stat.slice(stat.lastIndexOf(')')).split(' ').slice(12, 14).map(Number)
    return { messages: in_msgs! + out_msgs!, bytes: in_bytes! + out_bytes!, cpu: (user! + system!) / TICKS }
  }

  async end(): Promise<void> {
    await Promise.all(this.#stops.map((stop) => stop()))
    await this.store.close()
    await this.#server.stop()
    await rm(this.folder, { recursive: true, force: true })
  }
}

async function freePort(): Promise<number> {
  const server = createServer()
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as { port: number }
  await new Promise((resolve) => server.close(resolve))
  return port
}
