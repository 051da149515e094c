import { startProcess } from '#platform'
import { DeviceLostError, type TracedDevice } from '../../engine/index.ts'
import type { ModuleProcess } from '../../engine/platform/types.ts'
import { Heartbeat, type Pulse } from './heartbeat.ts'
import type { BranchWorkerSpec } from './localWorker.ts'
import { type BranchWorkerReply, type Method, receiveError } from './protocol.ts'
import type { BranchWorker, Entries, ForwardRequest, PartState, StemGradient, UpdateRequest } from './worker.ts'

/** Every build bundles `branchWorker.ts` as an entry point of its own into the folder of the code that starts it. */
const ENTRY = new URL('./branchWorker.js', import.meta.url)

/** Number of the requests whose answers nobody waits for. */
const ALIVE = -1

interface Pending {
  resolve(value: unknown): void
  reject(error: unknown): void
}

/**
 * A worker in a process of its own: its host work runs beside that of the others, and a driver that crashes takes only this one along.
 * With the process every call that waits rejects at once; a process that hangs is ended after a minute.
 */
export class ProcessBranchWorker implements BranchWorker {
  readonly name: string
  readonly own: readonly number[]
  readonly lost: Promise<never>
  readonly #process: ModuleProcess
  readonly #pending = new Map<number, Pending>()
  readonly #heartbeat: Heartbeat
  #requests = 0
  #failure: unknown

  /**
   * @param pulse how often its process is asked whether it is there; default every 5 s, and 12 times in vain
   * @throws UserError when the build has no file for the process, or there is no such device
   */
  static async open(spec: BranchWorkerSpec, pulse?: Pulse): Promise<ProcessBranchWorker> {
    const worker = new ProcessBranchWorker(spec, pulse)
    try {
      await worker.#request({ open: spec })
    } catch (error) {
      await worker.close()
      throw error
    }
    return worker
  }

  private constructor({ index, own }: BranchWorkerSpec, pulse: Pulse | undefined) {
    this.#process = startProcess(ENTRY, (message) => this.#settle(message as BranchWorkerReply))
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
      this.#fail(error)
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

  state(): Promise<PartState> {
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
    this.#fail(new Error(`${this.name} was closed`))
    await this.#process.end()
  }

  #call<T>(method: Method, ...args: unknown[]): Promise<T> {
    return this.#request({ method, args }) as Promise<T>
  }

  #request(what: { open: BranchWorkerSpec } | { method: Method; args: unknown[] }): Promise<unknown> {
    if (this.#failure !== undefined) return Promise.reject(this.#failure)
    return new Promise((resolve, reject) => {
      const id = this.#requests++
      this.#pending.set(id, { resolve, reject })
      this.#process.send({ id, ...what })
    })
  }

  #settle(reply: BranchWorkerReply): void {
    this.#heartbeat.heard()
    const pending = this.#pending.get(reply.id)
    this.#pending.delete(reply.id)
    if ('error' in reply) pending?.reject(receiveError(reply.error))
    else pending?.resolve(reply.value)
  }

  #fail(error: unknown): void {
    this.#failure ??= error
    for (const { reject } of this.#pending.values()) reject(this.#failure)
    this.#pending.clear()
  }
}
