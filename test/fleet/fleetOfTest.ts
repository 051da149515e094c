// A fleet on this machine: a real server, a study that waits for its runs, and workers that can be killed, stopped and cut off.
import { type ChildProcess, spawn } from 'node:child_process'
import { existsSync } from 'node:fs'
import { connect as connectTcp, createServer, type Server, type Socket } from 'node:net'
import { delimiter, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { connectFleet } from '../../train/fleet/connect.ts'
import { credentialsOf, type Role, type RunningServer, startServer, writeServerFolder } from '../../train/fleet/server.ts'
import { FleetStore } from '../../train/fleet/store.ts'

const CLI = fileURLToPath(new URL('./cli.js', import.meta.url))

/** Sees that nats-server is there. @throws Error that fails the file, where it is not */
export function hasServer(): boolean {
  const folders = [...(process.env.PATH ?? '').split(delimiter), '/usr/sbin', '/usr/local/bin']
  if (folders.some((folder) => existsSync(join(folder, 'nats-server')))) return true
  throw new Error('no fleet can be tested without nats-server: apt-get install nats-server')
}

/** Finds a free port. */
export async function freePort(): Promise<number> {
  const server = createServer()
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as { port: number }
  await new Promise((resolve) => server.close(resolve))
  return port
}

/** A process of the command line, with its output. */
export interface Started {
  child: ChildProcess
  stderr(): string
  stdout(): string
  ended: Promise<number | string>
}

/** Starts the command line. */
export function start(args: readonly string[], env: Record<string, string> = {}): Started {
  const child = spawn(process.execPath, ['--enable-source-maps', CLI, ...args], { env: { ...process.env, ...env } })
  let [stdout, stderr] = ['', '']
  child.stdout.on('data', (text) => {
    stdout += text
  })
  child.stderr.on('data', (text) => {
    stderr += text
  })
  const ended = new Promise<number | string>((resolve) => child.on('close', (code, signal) => resolve(signal ?? code!)))
  return { child, stdout: () => stdout, stderr: () => stderr, ended }
}

/** A network between a worker and the server, which can be cut: nothing arrives any more, and nobody is told. */
export class Cable {
  readonly port: number
  readonly #server: Server
  readonly #pairs = new Set<[Socket, Socket]>()
  #cut = false

  static async lay(to: number): Promise<Cable> {
    let cable: Cable | undefined
    const server = createServer((near) => {
      const far = connectTcp(to, '127.0.0.1')
      cable!.#join(near, far)
    })
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    cable = new Cable(server, (server.address() as { port: number }).port)
    return cable
  }

  private constructor(server: Server, port: number) {
    this.#server = server
    this.port = port
  }

  cut(): void {
    this.#cut = true
  }

  /** Lets nothing through for a while, as a slow link does. What is sent meanwhile waits. */
  async hold(milliseconds: number): Promise<void> {
    for (const pair of this.#pairs) for (const socket of pair) socket.pause()
    await new Promise((resolve) => setTimeout(resolve, milliseconds))
    for (const pair of this.#pairs) for (const socket of pair) socket.resume()
  }

  /** Joins the network again. Connections from before are gone. */
  heal(): void {
    this.#cut = false
    for (const pair of this.#pairs) for (const socket of pair) socket.destroy()
  }

  async close(): Promise<void> {
    this.heal()
    await new Promise((resolve) => this.#server.close(resolve))
  }

  #join(near: Socket, far: Socket): void {
    const pair: [Socket, Socket] = [near, far]
    this.#pairs.add(pair)
    const forward = (from: Socket, to: Socket) => {
      from.on('data', (bytes) => {
        if (!this.#cut) to.write(bytes)
      })
      from.on('error', () => {})
      from.on('close', () => {
        this.#pairs.delete(pair)
        if (!this.#cut) to.destroy()
      })
    }
    forward(near, far)
    forward(far, near)
  }
}

/** A worker that is started again whenever it ends. */
export class TestWorker {
  readonly name: string
  readonly cable: Cable
  readonly #args: readonly string[]
  #started: Started
  #log = ''
  #ends = false

  constructor(name: string, cable: Cable, args: readonly string[]) {
    this.name = name
    this.cable = cable
    this.#args = args
    this.#started = this.#begin()
  }

  get log(): string {
    return this.#log + this.#started.stderr()
  }

  signal(signal: NodeJS.Signals): void {
    this.#started.child.kill(signal)
  }

  async end(): Promise<number | string> {
    this.#ends = true
    this.signal('SIGCONT')
    this.signal('SIGTERM')
    const timer = setTimeout(() => this.signal('SIGKILL'), 10_000)
    const how = await this.#started.ended
    clearTimeout(timer)
    await this.cable.close()
    return how
  }

  #begin(): Started {
    const started = start(['worker', '--fleet', `nats://127.0.0.1:${this.cable.port}`, ...this.#args])
    started.ended.then(async () => {
      this.#log += started.stderr()
      // A worker of that name is known to be gone only after a while.
      await new Promise((resolve) => setTimeout(resolve, 500))
      if (!this.#ends) this.#started = this.#begin()
    })
    return started
  }
}

/** A server with its users, and what belongs to it. */
export class TestFleet {
  readonly folder: string
  readonly port: number
  readonly workers: TestWorker[] = []
  readonly #names: string[]
  readonly #config: string
  #server: RunningServer

  static async begin(folder: string, roles: readonly Role[]): Promise<TestFleet> {
    const port = await freePort()
    const config = await writeServerFolder({ folder, host: '127.0.0.1', port, roles })
    const server = await startServer(config, join(folder, 'server.log'), { host: '127.0.0.1', port })
    const names = roles.filter((role) => role.class !== undefined).map(({ name }) => name)
    const fleet = new TestFleet(folder, port, server, config, names)
    await (await fleet.open()).close()
    return fleet
  }

  private constructor(folder: string, port: number, server: RunningServer, config: string, names: string[]) {
    this.#names = names
    this.folder = folder
    this.port = port
    this.#server = server
    this.#config = config
  }

  /** Names of the workers that the server knows. */
  get names(): string[] {
    return this.#names
  }

  get url(): string {
    return `nats://127.0.0.1:${this.port}`
  }

  auth(name: string): string {
    return credentialsOf(this.folder, name)
  }

  /** Opens the fleet as who plans studies. */
  async open(): Promise<FleetStore> {
    const connection = await connectFleet({ url: this.url, auth: this.auth('coordinator') }, 'coordinator', () => {})
    return FleetStore.open(connection, true)
  }

  /** The flags by which a command reaches the fleet as a user. */
  flags(name = 'coordinator'): string[] {
    return ['--fleet', this.url, '--auth', this.auth(name)]
  }

  async startWorker(name: string, work: string, more: readonly string[] = []): Promise<TestWorker> {
    const cable = await Cable.lay(this.port)
    const worker = new TestWorker(name, cable, ['--auth', this.auth(name), '--name', name, '--work', work, ...more])
    this.workers.push(worker)
    return worker
  }

  /** Kills the server and starts it again. */
  async restart(milliseconds: number): Promise<void> {
    process.kill(this.#server.pid, 'SIGKILL')
    await this.#server.ended
    await new Promise((resolve) => setTimeout(resolve, milliseconds))
    this.#server = await startServer(this.#config, join(this.folder, 'server.log'), { host: '127.0.0.1', port: this.port })
  }

  async end(): Promise<void> {
    await Promise.all(this.workers.map((worker) => worker.end()))
    await this.#server.stop()
  }
}
