import { existsSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { Worker } from 'node:worker_threads'
import type { Batch, BatchSpec } from './batch.ts'

export interface BatchRequest {
  id: number
  epoch: number
  step: number
}

export type BatchReply = { id: number; batch: Batch } | { id: number; error: unknown }

interface Pending {
  resolve(batch: Batch): void
  reject(error: unknown): void
}

/** Every build bundles `batchWorker.ts` as an entry point of its own into the folder of the code that starts it. */
const ENTRY = new URL('./batchWorker.js', import.meta.url)

/**
 * Makes batches in a thread, in the order asked for. Images on shared memory are read there without a copy, and a batch
 * comes back without one. The thread keeps the process alive only while a batch is due.
 */
export class BatchWorker {
  readonly #worker: Worker
  readonly #pending = new Map<number, Pending>()
  #requests = 0
  #failure: unknown

  constructor(spec: BatchSpec) {
    this.#worker = new Worker(ENTRY, { workerData: spec })
    this.#worker.unref()
    this.#worker.on('message', (reply: BatchReply) => this.#settle(reply))
    this.#worker.on('error', (error) => this.#fail(error))
    this.#worker.on('exit', (code) => this.#fail(new Error(`the data worker ended with code ${code}`)))
  }

  /** Whether the worker's file is there: a build that bundles the library alone lacks it. */
  static isAvailable(): boolean {
    return ENTRY.protocol === 'file:' && existsSync(fileURLToPath(ENTRY))
  }

  /** The batch at (epoch, step). Rejects with the worker's own error, also when the worker ended before. */
  make(epoch: number, step: number): Promise<Batch> {
    if (this.#failure !== undefined) return Promise.reject(this.#failure)
    return new Promise((resolve, reject) => {
      const id = this.#requests++
      this.#pending.set(id, { resolve, reject })
      this.#worker.ref()
      this.#worker.postMessage({ id, epoch, step } satisfies BatchRequest)
    })
  }

  /** Ends the thread; what was asked for and not yet made is rejected. */
  async close(): Promise<void> {
    this.#fail(new Error('the loader was closed before its batch was made'))
    // An idle thread is not waited for, so the process could end while its end is awaited.
    this.#worker.ref()
    await this.#worker.terminate()
  }

  #settle(reply: BatchReply): void {
    const pending = this.#pending.get(reply.id)
    // A batch that was on its way when the worker was closed.
    if (!pending) return
    this.#pending.delete(reply.id)
    if (this.#pending.size === 0) this.#worker.unref()
    if ('batch' in reply) pending.resolve(reply.batch)
    else pending.reject(reply.error)
  }

  #fail(error: unknown): void {
    this.#failure ??= error
    for (const { reject } of this.#pending.values()) reject(this.#failure)
    this.#pending.clear()
  }
}
