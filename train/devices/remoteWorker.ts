import { startProcess } from '#platform'
import { DeviceLostError } from '../../engine/index.ts'
import type { ModuleProcess } from '../../engine/platform/types.ts'
import { PendingCalls } from '../pendingCalls.ts'
import { Heartbeat, type Pulse } from './heartbeat.ts'
import { type Method, type OpenRequest, receiveError, type WorkerReply } from './protocol.ts'

/**
 * Every build for Node bundles `deviceProcess.ts` as an entry point of its own into the folder of the code that starts it. Bundlers of
 * pages need not look for it, since a page starts no process.
 */
const ENTRY = new URL(/* @vite-ignore */ './deviceProcess.js', import.meta.url)

/** The number of requests whose replies nothing waits for. */
export const ALIVE = -1

/**
 * Begins the process of a worker, on this machine or another one, and the way of messages to and from it.
 * @param heard is called at a sign of life that is no whole message yet
 */
export type Connect = (onMessage: (message: unknown) => void, heard: () => void) => ModuleProcess

/** Starts a process on this machine. @throws UserError when the build has no file for it */
export const onThisMachine: Connect = (onMessage) => startProcess(ENTRY, onMessage)

export interface RemoteOptions {
  /** How often the process must show that it is alive; default every 5 s, lost after 12 misses. */
  pulse?: Pulse | undefined
  /** Begins the process; default one of this machine. */
  connect?: Connect | undefined
}

/**
 * The other end of a device in a process of its own: its host work runs beside that of the others, and a driver that crashes takes only this
 * device along. When the process ends, every pending call rejects at once; a process that hangs is killed after a minute.
 */
export abstract class RemoteWorker {
  readonly name: string
  readonly lost: Promise<never>
  readonly #process: ModuleProcess
  readonly #pending = new PendingCalls<unknown>()
  readonly #heartbeat: Heartbeat
  #giveUp: (how: string) => void = () => {}

  /**
   * @param index of the device
   * @param leaves is what goes with it, for the message of its loss
   */
  protected constructor(index: number, leaves: string, { pulse, connect = onThisMachine }: RemoteOptions) {
    this.#process = connect(
      (message) => this.#settle(message as WorkerReply),
      () => this.#heartbeat.heard(),
    )
    const fault = new Promise<string>((resolve) => {
      this.#giveUp = resolve
    })
    const hangs = () => this.#giveUp('does not answer any more')
    this.#heartbeat = new Heartbeat(() => this.#process.send({ id: ALIVE, alive: true }), hangs, pulse)
    this.name = `device ${index} (${this.#process.name})`
    this.lost = Promise.race([this.#process.ended, fault]).then((how) => {
      this.#heartbeat.stop()
      const error = new DeviceLostError(`${this.name} ${how}; its ${leaves} gone, go on from a checkpoint`)
      this.#pending.fail(error)
      this.#process.kill()
      throw error
    })
    this.lost.catch(() => {})
  }

  /** Opens the worker in its process, which ends when that fails. */
  protected async begin(request: OpenRequest): Promise<this> {
    try {
      await this.#request(request)
      return this
    } catch (error) {
      await this.close()
      throw error
    }
  }

  protected call<T>(method: Method, ...args: unknown[]): Promise<T> {
    return this.#request({ method, args }) as Promise<T>
  }

  /** Makes a call whose result another machine may get wrong: then the worker counts as lost. */
  protected async checkedCall<T>(fits: (value: T) => boolean, method: Method, ...args: unknown[]): Promise<T> {
    const value = await this.call<T>(method, ...args)
    if (value !== null && value !== undefined && fits(value)) return value
    this.#giveUp(`answers ${method} with a value of a wrong kind or shape`)
    return this.lost
  }

  hurry(): void {
    this.#heartbeat.hurry()
  }

  async close(): Promise<void> {
    this.#heartbeat.stop()
    this.#pending.fail(new Error(`${this.name} was closed`))
    await this.#process.end()
  }

  #request(what: OpenRequest | { method: Method; args: unknown[] }): Promise<unknown> {
    return this.#pending.call((id) => this.#process.send({ id, ...what }))
  }

  #settle(reply: WorkerReply): void {
    this.#heartbeat.heard()
    this.#pending.settle('error' in reply ? { id: reply.id, error: receiveError(reply.error) } : reply)
  }
}
