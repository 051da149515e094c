import { startProcess } from '#platform'
import { DeviceLostError } from '../../engine/index.ts'
import type { ModuleProcess } from '../../engine/platform/types.ts'
import type { ShardSpec } from './localShard.ts'
import { type Method, receiveError, type ShardReply } from './protocol.ts'
import type { Entries, ForwardRequest, PartState, Shard, StemGradient, UpdateRequest } from './shard.ts'

/** Every build bundles `branchWorker.ts` as an entry point of its own into the folder of the code that starts it. */
const ENTRY = new URL('./branchWorker.js', import.meta.url)

interface Pending {
  resolve(value: unknown): void
  reject(error: unknown): void
}

/**
 * A shard in a process of its own: its host work runs beside that of the others, and a driver that crashes takes only this one along.
 * With the process every call that waits rejects at once.
 */
export class ProcessShard implements Shard {
  readonly name: string
  readonly own: readonly number[]
  readonly lost: Promise<never>
  readonly #process: ModuleProcess
  readonly #pending = new Map<number, Pending>()
  #requests = 0
  #failure: unknown

  /** @throws UserError when the build has no file for the process, or there is no such device */
  static async open(spec: ShardSpec): Promise<ProcessShard> {
    const shard = new ProcessShard(spec)
    try {
      await shard.#request({ open: spec })
    } catch (error) {
      await shard.close()
      throw error
    }
    return shard
  }

  private constructor({ index, own }: ShardSpec) {
    this.#process = startProcess(ENTRY, (message) => this.#settle(message as ShardReply))
    this.name = `device ${index} (${this.#process.name})`
    this.own = own
    this.lost = this.#process.ended.then((how) => {
      const error = new DeviceLostError(`${this.name} ${how}; its branches are gone, go on from a checkpoint`)
      this.#fail(error)
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

  async close(): Promise<void> {
    this.#fail(new Error(`${this.name} was closed`))
    await this.#process.end()
  }

  #call<T>(method: Method, ...args: unknown[]): Promise<T> {
    return this.#request({ method, args }) as Promise<T>
  }

  #request(what: { open: ShardSpec } | { method: Method; args: unknown[] }): Promise<unknown> {
    if (this.#failure !== undefined) return Promise.reject(this.#failure)
    return new Promise((resolve, reject) => {
      const id = this.#requests++
      this.#pending.set(id, { resolve, reject })
      this.#process.send({ id, ...what })
    })
  }

  #settle(reply: ShardReply): void {
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
