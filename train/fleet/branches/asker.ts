import { parseJson } from '../../../engine/base/json.ts'
import { reason, UserError } from '../../../engine/index.ts'
import type { ModelConfig } from '../../../model/index.ts'
import type { ElsewhereDevice } from '../../devices/distribute.ts'
import type { Pulse } from '../../devices/heartbeat.ts'
import { RemoteBranchWorker } from '../../devices/remoteBranchWorker.ts'
import { RemoteReplica } from '../../devices/remoteReplica.ts'
import type { RemoteOptions } from '../../devices/remoteWorker.ts'
import { BUILD } from '../../study/plan/build.ts'
import { presentWorkers } from '../presence.ts'
import type { FleetStore } from '../store.ts'
import { SessionChannel, type WireBytes } from './channel.ts'
import { BRANCH_PULSE, OFFER_TIMEOUT, OPEN_ANSWER, type OpenRequest, openSubject } from './protocol.ts'

/** Milliseconds between tries to find a host that is free. */
const PAUSE = 1000
/** Milliseconds after which no host is waited for any more. */
const PATIENCE = 60_000

export interface HostsOptions {
  /** Whether rows and gradients travel as float16. */
  halves?: boolean | undefined
  pulse?: Pulse | undefined
  /** Milliseconds after which no host is waited for any more; default a minute. */
  patience?: number | undefined
  note(text: string): void
}

/** The hosts of a fleet that branches can live on. */
export class BranchHosts {
  readonly #store: FleetStore
  readonly #options: HostsOptions
  readonly #channels: SessionChannel[] = []
  /** Hosts that a session is being opened on. */
  readonly #asked = new Set<string>()

  constructor(store: FleetStore, options: HostsOptions) {
    this.#store = store
    this.#options = options
  }

  /** Bytes that crossed to and from all hosts so far. */
  get bytes(): WireBytes {
    const total = { sent: 0, received: 0 }
    for (const { bytes } of this.#channels) {
      total.sent += bytes.sent
      total.received += bytes.received
    }
    return total
  }

  /** Returns a device that is opened on a host. @param name default any that is free */
  device(name?: string): ElsewhereDevice {
    return {
      open: (spec) =>
        this.#open(spec.config, `branches ${spec.own.map((i) => i + 1).join(', ')}`, name, (options) =>
          RemoteBranchWorker.open(spec, options),
        ),
      openReplica: (spec) =>
        this.#open(spec.config, 'a copy of the model', name, (options) => RemoteReplica.open(spec, options)),
    }
  }

  /**
   * Finds a host and opens something there.
   * @param what is told while no host is free
   * @throws UserError when no host is free for too long
   */
  async #open<T>(
    { channels, imageSize }: ModelConfig,
    what: string,
    name: string | undefined,
    open: (options: RemoteOptions) => Promise<T>,
  ): Promise<T> {
    const { patience = PATIENCE, pulse = BRANCH_PULSE, halves = false, note } = this.#options
    const until = performance.now() + patience
    let why = 'there is none'
    let told = false
    for (;;) {
      // The connection may be lost for a while.
      const hosts = await this.#hosts().catch((error: unknown) => {
        why = reason(error)
        return []
      })
      for (const host of name === undefined ? hosts : [name]) {
        if (this.#asked.has(host)) continue
        this.#asked.add(host)
        try {
          const request: OpenRequest = {
            session: crypto.randomUUID().replaceAll('-', ''),
            sources: BUILD.sources,
            halves,
            plane: imageSize ** 2,
          }
          const answer = await this.#ask(host, request)
          if (answer.free)
            return await open({ pulse, connect: (onMessage, heard) => this.#connect(host, request, onMessage, heard) })
          why = `${host}: ${answer.why ?? 'is not free'}`
        } catch (error) {
          if (error instanceof UserError) throw error
          why = `${host}: ${reason(error)}`
        } finally {
          this.#asked.delete(host)
        }
      }
      if (performance.now() > until)
        throw new UserError(
          `no host of the fleet is free for branches (${why}); start one with paraformer worker --branches --fleet … (images of ${channels} x ${imageSize} x ${imageSize})`,
        )
      if (!told) note(`waiting for a host that is free for ${what} (${why})`)
      told = true
      await new Promise((resolve) => setTimeout(resolve, PAUSE))
    }
  }

  async #hosts(): Promise<string[]> {
    const workers = await presentWorkers(this.#store.workers)
    return workers.filter(({ branches }) => branches !== undefined).map(({ name }) => name)
  }

  async #ask(host: string, request: OpenRequest) {
    const { connection } = this.#store
    const answer = await connection.request(openSubject(host), JSON.stringify(request), { timeout: OFFER_TIMEOUT })
    return parseJson(OPEN_ANSWER, answer.data.length > 4096 ? '' : answer.string(), `the answer of ${host}`)
  }

  #connect(host: string, request: OpenRequest, onMessage: (message: unknown) => void, onPart: () => void): SessionChannel {
    const channel = new SessionChannel({
      connection: this.#store.connection,
      host,
      request,
      side: 'asker',
      onMessage,
      onPart,
    })
    this.#channels.push(channel)
    return channel
  }
}
