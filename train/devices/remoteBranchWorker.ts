import { startProcess } from '#platform'
import { DeviceLostError, type TracedDevice } from '../../engine/index.ts'
import type { ModuleProcess } from '../../engine/platform/types.ts'
import type { Entries, ModelState } from '../modelState.ts'
import { PendingCalls } from '../pendingCalls.ts'
import type { BranchWorker, ForwardRequest, StemGradient, UpdateRequest } from './branchWorker.ts'
import { Heartbeat, type Pulse } from './heartbeat.ts'
import type { BranchWorkerSpec } from './localBranchWorker.ts'
import { type BranchWorkerReply, type Method, receiveError } from './protocol.ts'

/**
 * Every build for Node bundles `branchWorkerProcess.ts` as an entry point of its own into the folder of the code that starts it. Bundlers of
 * pages need not look for it, since a page starts no process.
 */
const ENTRY = new URL(/* @vite-ignore */ './branchWorkerProcess.js', import.meta.url)

/** The number of requests whose replies nothing waits for. */
const ALIVE = -1

/** Begins the process of a worker, on this machine or another one, and the way of messages to and from it. */
export type Connect = (onMessage: (message: unknown) => void) => ModuleProcess

/** Starts a process on this machine. @throws UserError when the build has no file for it */
export const onThisMachine: Connect = (onMessage) => startProcess(ENTRY, onMessage)

/**
 * A worker in a process of its own: its host work runs beside that of the others, and a driver that crashes takes only this worker
 * along. When the process ends, every pending call rejects at once; a process that hangs is killed after a minute.
 */
export class RemoteBranchWorker implements BranchWorker {
  readonly name: string
  readonly own: readonly number[]
  readonly lost: Promise<never>
  readonly #process: ModuleProcess
  readonly #pending = new PendingCalls<unknown>()
  readonly #heartbeat: Heartbeat

  /**
   * Begins a process and opens a worker in it.
   * @param connect default a process of this machine
   * @param pulse how often the process must show that it is alive; default every 5 s, lost after 12 misses
   * @throws UserError when the build has no file for the process, or the device cannot be opened
   */
  static async open(spec: BranchWorkerSpec, pulse?: Pulse, connect = onThisMachine): Promise<RemoteBranchWorker> {
    const worker = new RemoteBranchWorker(spec, pulse, connect)
    try {
      await worker.#request({ open: spec })
    } catch (error) {
      await worker.close()
      throw error
    }
    return worker
  }

  private constructor({ index, own }: BranchWorkerSpec, pulse: Pulse | undefined, connect: Connect) {
    this.#process = connect((message) => this.#settle(message as BranchWorkerReply))
    let hangs = () => {}
    const silence = new Promise<string>((resolve) => {
      hangs = () => resolve('does not answer any more')
    })
    this.#heartbeat = new Heartbeat(() => this.#process.send({ id: ALIVE, alive: true }), hangs, pulse)
    this.name = `device ${index} (${this.#process.name})`
    this.own = own
    this.lost = Promise.race([this.#process.ended, silence]).then((how) => {
      this.#heartbeat.stop()
      const error = new DeviceLostError(`${this.name} ${how}; its branches are gone, go on from a checkpoint`)
      this.#pending.fail(error)
      this.#process.kill()
      throw error
    })
    this.lost.catch(() => {})
  }

  load(id: number, images: Float32Array, count: number): Promise<void> {
    return this.#call('load', id, images, count)
  }

  drop(id: number): Promise<void> {
    return this.#call('drop', id)
  }

  forward(request: ForwardRequest): Promise<Float32Array> {
    return this.#call('forward', request)
  }

  backward(cotangent: Float32Array): Promise<void> {
    return this.#call('backward', cotangent)
  }

  stemGradient(): Promise<StemGradient> {
    return this.#call('stemGradient')
  }

  update(request: UpdateRequest): Promise<void> {
    return this.#call('update', request)
  }

  gradients(): Promise<Entries> {
    return this.#call('gradients')
  }

  state(): Promise<ModelState> {
    return this.#call('state')
  }

  startTrace(): Promise<void> {
    return this.#call('startTrace')
  }

  endTrace(): Promise<TracedDevice> {
    return this.#call('endTrace')
  }

  hurry(): void {
    this.#heartbeat.hurry()
  }

  async close(): Promise<void> {
    this.#heartbeat.stop()
    this.#pending.fail(new Error(`${this.name} was closed`))
    await this.#process.end()
  }

  #call<T>(method: Method, ...args: unknown[]): Promise<T> {
    return this.#request({ method, args }) as Promise<T>
  }

  #request(what: { open: BranchWorkerSpec } | { method: Method; args: unknown[] }): Promise<unknown> {
    return this.#pending.call((id) => this.#process.send({ id, ...what }))
  }

  #settle(reply: BranchWorkerReply): void {
    this.#heartbeat.heard()
    this.#pending.settle('error' in reply ? { id: reply.id, error: receiveError(reply.error) } : reply)
  }
}
