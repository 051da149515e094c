import { hostname } from 'node:os'
import type { Msg } from '@nats-io/nats-core'
import { parseJson } from '../../../engine/base/json.ts'
import { reason, UserError } from '../../../engine/index.ts'
import type { ModuleProcess } from '../../../engine/platform/types.ts'
import type { WorkerRequest } from '../../devices/protocol.ts'
import { ALIVE, onThisMachine } from '../../devices/remoteWorker.ts'
import { BUILD } from '../../study/plan/build.ts'
import type { WorkerClass } from '../names.ts'
import { isGoneHere } from '../nodeMachine.ts'
import { Presence } from '../presence.ts'
import { type FleetStore, PRESENCE } from '../store.ts'
import { SessionChannel } from './channel.ts'
import { checkRequest, type SessionKind } from './checkRequest.ts'
import { OPEN_REQUEST, type OpenRequest, openSubject } from './protocol.ts'

/** Milliseconds in which a session that was granted must be opened. */
const BEGIN = 30_000
/**
 * Milliseconds without a message after which a session is over. Who asked for it sends a sign of life every second, and waits a minute for a
 * host that is free, so that a trainer that was killed and started again finds the host free in time.
 */
const SILENCE = 30_000
/** Milliseconds between signs of life while a large message arrives. */
const SIGN = 1000
/** Bytes of the largest request for a session. */
const MAX_REQUEST = 4096

export interface HostOptions {
  store: FleetStore
  name: string
  class: WorkerClass
  /** The device of this host, as `deviceKey` names it. */
  device: string
  adapter: string | undefined
  signal: AbortSignal
  note(text: string): void
}

/**
 * Hosts branches of models that others train: one session at a time, in a process of its own, so that this one answers while the device
 * computes. A session gives settings and numbers alone.
 */
export class BranchHost {
  readonly #options: HostOptions
  #session: Session | undefined

  /** Hosts branches until the signal aborts. @throws UserError when another worker has the name */
  static async run(options: HostOptions): Promise<void> {
    const { store, name, device, signal, note } = options
    const entry = { name, class: options.class, host: hostname(), pid: process.pid, device, sources: BUILD.sources }
    const more = { since: new Date().toISOString(), branches: 'free' as const, done: 0, failed: 0 }
    const presence = await Presence.begin(store.workers, { ...entry, ...more }, PRESENCE / 6, ({ pid }) => isGoneHere(pid))
    const host = new BranchHost(options, presence)
    let refused: (error: Error) => void = () => {}
    const refusal = new Promise<never>((_, reject) => {
      refused = (error) => reject(new UserError(`worker ${name} may not host branches: ${reason(error)}`))
    })
    refusal.catch(() => {})
    const subscription = store.connection.subscribe(openSubject(name), {
      callback: (error, message) => {
        if (error) refused(error)
        else host.#answer(message)
      },
    })
    try {
      await store.connection.flush()
      note(`worker ${name} hosts branches`)
      if (!signal.aborted)
        await new Promise<void>((resolve) => signal.addEventListener('abort', () => resolve(), { once: true }))
    } finally {
      subscription.unsubscribe()
      await host.#session?.end('this worker ends')
      await presence.end()
    }
  }

  readonly #presence: Presence

  private constructor(options: HostOptions, presence: Presence) {
    this.#options = options
    this.#presence = presence
  }

  #answer(message: Msg): void {
    const { note } = this.#options
    let request: OpenRequest
    try {
      if (message.data.length > MAX_REQUEST) throw new UserError(`a request has ${message.data.length} bytes`)
      request = parseJson(OPEN_REQUEST, message.string(), 'a request for branches')
    } catch (error) {
      note(`refused: ${reason(error)}`)
      message.respond(JSON.stringify({ free: false, why: 'the request is malformed' }))
      return
    }
    const why =
      request.sources !== BUILD.sources
        ? 'it has other code of paraformer'
        : this.#session
          ? 'it has branches already'
          : undefined
    message.respond(JSON.stringify({ free: why === undefined, why }))
    if (why !== undefined) return
    this.#session = new Session(this.#options, request, (how) => {
      note(`session ${request.session.slice(-6)} is over: ${how}`)
      this.#session = undefined
      void this.#presence.show({ branches: 'free' })
    })
    note(`session ${request.session.slice(-6)} begins`)
    void this.#presence.show({ branches: 'taken' })
  }
}

/** A session: the process that has the branches, and its messages. */
class Session {
  readonly #channel: SessionChannel
  readonly #options: HostOptions
  readonly #onEnd: (how: string) => void
  #process: ModuleProcess | undefined
  #timer: ReturnType<typeof setTimeout>
  #over = false
  /** What the session has; undefined until it is opened. */
  #kind: SessionKind | undefined
  #lastSign = 0

  constructor(options: HostOptions, request: OpenRequest, onEnd: (how: string) => void) {
    const { store, name } = options
    this.#options = options
    this.#onEnd = onEnd
    this.#channel = new SessionChannel({
      connection: store.connection,
      host: name,
      request,
      side: 'host',
      onMessage: (message) => this.#take(message),
      onPart: () => this.#sign(),
    })
    this.#timer = setTimeout(() => void this.end('nothing came'), BEGIN)
    this.#channel.ended.then((how) => this.end(`the other side ${how}`))
  }

  async end(how: string): Promise<void> {
    if (this.#over) return
    this.#over = true
    clearTimeout(this.#timer)
    await Promise.all([this.#channel.end(), this.#process?.end()])
    this.#onEnd(how)
  }

  #wait(): void {
    clearTimeout(this.#timer)
    this.#timer = setTimeout(() => void this.end('nothing came any more'), SILENCE)
  }

  /** Says that this host lives, since questions whether it does wait behind the parts of a large message. */
  #sign(): void {
    this.#wait()
    const now = performance.now()
    if (now - this.#lastSign < SIGN) return
    this.#lastSign = now
    this.#channel.send({ id: ALIVE, value: undefined })
  }

  #take(message: unknown): void {
    this.#wait()
    let request: WorkerRequest
    try {
      request = checkRequest(message, this.#kind)
    } catch (error) {
      this.#options.note(`refused: ${reason(error)}`)
      void this.end('a message was refused')
      return
    }
    if ('open' in request || 'replica' in request) {
      // The device is this host's choice.
      const device = { adapter: this.#options.adapter }
      this.#kind = 'open' in request ? 'open' : 'replica'
      request =
        'open' in request
          ? { id: request.id, open: { ...request.open, request: device } }
          : { id: request.id, replica: { ...request.replica, request: device } }
      this.#process = onThisMachine(
        (reply) => this.#channel.send(reply),
        () => {},
      )
      this.#process.ended.then((ended) => this.end(`its process ${ended}`))
    }
    this.#process!.send(request)
  }
}
