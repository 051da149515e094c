import { type ChildProcess, execFile, execFileSync, spawn } from 'node:child_process'
import { existsSync } from 'node:fs'
import { createConnection } from 'node:net'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { UserError } from '../../engine/index.ts'

const RELAY = fileURLToPath(new URL('./lossyLink.py', import.meta.url))
const SERVERS = ['/usr/sbin/nats-server', '/usr/local/bin/nats-server', '/usr/bin/nats-server']
/** The device of a host's namespace. */
const DEVICE = 'eth0'
/** Milliseconds that a server, or the links, may take to be there. */
const START = 10_000

const execute = promisify(execFile)

/** Properties of a link, each way. */
export interface LinkSettings {
  /** Milliseconds. */
  delay: number
  /** Share of packets that is lost. */
  loss: number
  /** Mbit/s; 0 for no limit. */
  rate: number
}

/** @throws UserError in one line where network namespaces cannot be made */
export async function requireNamespaces(): Promise<void> {
  const need = 'links between network namespaces need root, ip (apt-get install iproute2), python3 and /dev/net/tun'
  if (process.getuid?.() !== 0) throw new UserError(`${need}; this is not root`)
  if (!existsSync('/dev/net/tun')) throw new UserError(`${need}; /dev/net/tun is not there`)
  const name = `pf${process.pid}-try`
  try {
    await execute('python3', ['--version'])
    await execute('ip', ['netns', 'add', name])
    await execute('ip', ['netns', 'delete', name])
  } catch (error) {
    throw new UserError(
      `${need}; ${String((error as Error).message)
        .trim()
        .split('\n')
        .at(-1)}`,
    )
  }
}

/**
 * Network namespaces of one server and some hosts, which are joined to the server by links whose delay and losses can be set. This process
 * reaches the server by a link without either.
 */
export class Namespaces {
  /** The address of the server, for this process. */
  readonly server: string
  readonly hosts: number
  readonly #id: string
  readonly #relay: ChildProcess
  readonly #children: ChildProcess[] = []
  #changed: () => void = () => {}
  readonly #onExit = () => this.#delete()
  /** A signal ends the process, and the namespaces with it. */
  readonly #onSignal = () => process.exit(130)

  /** @throws UserError in one line where they cannot be made */
  static async begin(hosts: number, seed = 1): Promise<Namespaces> {
    await requireNamespaces()
    // Numbers of the private block 10.213, apart for each process.
    const id = `pf${process.pid}`
    const near = `10.213.${process.pid % 200}`
    const made: string[] = []
    try {
      for (const name of ['hub', ...Array.from({ length: hosts }, (_, i) => `h${i + 1}`)]) {
        await execute('ip', ['netns', 'add', `${id}-${name}`])
        made.push(name)
        await execute('ip', ['-n', `${id}-${name}`, 'link', 'set', 'lo', 'up'])
        // A namespace may always choose Reno, whatever this machine has. Its window stays while hosts compute, which is longer than a timeout; and
        // no connection learns from the one before.
        const values = { tcp_congestion_control: 'reno', tcp_slow_start_after_idle: 0, tcp_no_metrics_save: 1 }
        const settings = Object.entries(values).map(([key, value]) => `echo ${value} > /proc/sys/net/ipv4/${key}`)
        await execute('ip', ['netns', 'exec', `${id}-${name}`, 'sh', '-c', settings.join('; ')])
      }
      const device = `pf${process.pid % 100000}v`
      await execute('ip', ['link', 'add', device, 'type', 'veth', 'peer', 'name', 'pf0', 'netns', `${id}-hub`])
      await execute('ip', ['address', 'add', `${near}.1/30`, 'dev', device])
      await execute('ip', ['link', 'set', device, 'up'])
      await execute('ip', ['-n', `${id}-hub`, 'address', 'add', `${near}.2/30`, 'dev', 'pf0'])
      await execute('ip', ['-n', `${id}-hub`, 'link', 'set', 'pf0', 'up'])
    } catch (error) {
      for (const name of made) execFileSync('ip', ['netns', 'delete', `${id}-${name}`])
      throw new UserError(
        `network namespaces cannot be made: ${String((error as Error).message)
          .trim()
          .split('\n')
          .at(-1)}`,
      )
    }
    const links = Array.from({ length: hosts }, (_, i) => [
      '--link',
      `${id}-hub,pf${i + 1},${addressOf(i + 1, 1)}`,
      `${id}-h${i + 1},${DEVICE},${addressOf(i + 1, 2)}`,
    ])
    const relay = spawn('python3', [RELAY, '--seed', String(seed), ...links.flat()], { stdio: ['pipe', 'pipe', 'pipe'] })
    const spaces = new Namespaces(id, `${near}.2`, hosts, relay)
    await spaces.#follow()
    return spaces
  }

  private constructor(id: string, server: string, hosts: number, relay: ChildProcess) {
    this.#id = id
    this.server = server
    this.hosts = hosts
    this.#relay = relay
    process.on('exit', this.#onExit)
    for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, this.#onSignal)
  }

  /** The address of the server, for a host. @param host from 1 */
  serverOf(host: number): string {
    return addressOf(host, 1)
  }

  /** Sets delay, loss and rate of all links. */
  async set({ delay, loss, rate }: LinkSettings): Promise<void> {
    const changed = new Promise<void>((resolve) => {
      this.#changed = resolve
    })
    this.#relay.stdin!.write(`${loss} ${delay} ${rate}\n`)
    await changed
  }

  /** Cuts the link of a host: nothing arrives any more, and nobody is told. @param host from 1 */
  async cut(host: number): Promise<void> {
    await execute('ip', ['-n', `${this.#id}-hub`, 'link', 'set', `pf${host}`, 'down'])
  }

  /** Joins the link of a host again. @param host from 1 */
  async join(host: number): Promise<void> {
    await execute('ip', ['-n', `${this.#id}-hub`, 'link', 'set', `pf${host}`, 'up'])
  }

  /** Reads the bytes that a host's device sent and received so far, heads of packets included. @param host from 1 */
  async bytes(host: number): Promise<number> {
    const { stdout } = await execute('ip', ['-n', `${this.#id}-h${host}`, '-s', '-j', 'link', 'show', DEVICE])
    const [{ stats64: stats }] = JSON.parse(stdout) as [{ stats64: { rx: { bytes: number }; tx: { bytes: number } } }]
    return stats.rx.bytes + stats.tx.bytes
  }

  /** Starts a program in the namespace of a host, or of the server. @param host from 1; 0 is the server */
  start(host: number, program: string, args: readonly string[]): ChildProcess {
    const child = spawn('ip', ['netns', 'exec', `${this.#id}-${host === 0 ? 'hub' : `h${host}`}`, program, ...args], {
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    child.stdout!.resume()
    this.#children.push(child)
    return child
  }

  /** Starts nats-server in its namespace, and waits until it listens. @throws UserError when it does not */
  async startServer(config: string, log: string, port: number): Promise<void> {
    const program = SERVERS.find((path) => existsSync(path)) ?? 'nats-server'
    const child = this.start(0, program, ['-c', config, '-l', log])
    child.stderr!.resume()
    const until = performance.now() + START
    while (!(await listens(this.server, port))) {
      if (child.exitCode !== null || performance.now() > until)
        throw new UserError(`nats-server does not listen in its namespace; ${log} says why, or apt-get install nats-server`)
      await new Promise((resolve) => setTimeout(resolve, 50))
    }
  }

  /** Ends what was started, and deletes the namespaces. */
  async end(): Promise<void> {
    process.off('exit', this.#onExit)
    for (const signal of ['SIGINT', 'SIGTERM'] as const) process.off(signal, this.#onSignal)
    for (const child of this.#children) {
      if (child.exitCode !== null || child.signalCode !== null) continue
      const ended = new Promise((resolve) => child.on('exit', resolve))
      const timer = setTimeout(() => child.kill('SIGKILL'), START)
      child.kill('SIGTERM')
      await ended
      clearTimeout(timer)
    }
    this.#delete()
  }

  #delete(): void {
    for (const child of this.#children) child.kill('SIGKILL')
    this.#relay.kill('SIGKILL')
    for (const name of ['hub', ...Array.from({ length: this.hosts }, (_, i) => `h${i + 1}`)])
      execFileSync('ip', ['netns', 'delete', `${this.#id}-${name}`])
  }

  async #follow(): Promise<void> {
    let said = ''
    this.#relay.stderr!.on('data', (text) => {
      said = `${said}${text}`.slice(-1000)
    })
    const ready = new Promise<string>((resolve) => {
      this.#relay.stdout!.on('data', (text) => {
        if (String(text).includes('ready')) resolve('ready')
        else this.#changed()
      })
    })
    const ended = new Promise<string>((resolve) => this.#relay.on('exit', () => resolve('ended')))
    if ((await Promise.race([ready, ended])) === 'ready') return
    this.#delete()
    throw new UserError(`the links between namespaces cannot be made: ${said.trim().split('\n').at(-1)}`)
  }
}

/** Returns the address of an end of a host's link: 1 is the server's, 2 the host's. */
function addressOf(host: number, end: 1 | 2): string {
  return `10.214.${host}.${end}`
}

async function listens(host: string, port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = createConnection({ host, port }, () => {
      socket.destroy()
      resolve(true)
    })
    socket.on('error', () => resolve(false))
  })
}
