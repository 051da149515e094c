import { existsSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { Worker } from 'node:worker_threads'
import { PendingCalls, type Reply } from '../pendingCalls.ts'
import type { Batch, BatchSpec } from './batch.ts'

export interface BatchRequest {
  id: number
  epoch: number
  step: number
}

export type BatchReply = Reply<Batch>

/** Every build bundles `batchWorkerThread.ts` as an entry point of its own into the folder of the code that starts it. */
const ENTRY = new URL('./batchWorkerThread.js', import.meta.url)

/**
 * Makes batches in a thread, in the order of the requests. The thread reads images in shared memory without a copy, and hands
 * a batch over without one. It keeps the process alive only while a batch is pending.
 */
export class BatchWorker {
  readonly #worker: Worker
  readonly #pending = new PendingCalls<Batch>()

  constructor(spec: BatchSpec) {
    this.#worker = new Worker(ENTRY, { workerData: spec })
    this.#worker.unref()
    this.#worker.on('message', (reply: BatchReply) => {
      if (this.#pending.settle(reply) && this.#pending.size === 0) this.#worker.unref()
    })
    this.#worker.on('error', (error) => this.#pending.fail(error))
    this.#worker.on('exit', (code) => this.#pending.fail(new Error(`the data worker ended with code ${code}`)))
  }

  /** Whether the thread's file exists, which a build that bundles the library alone lacks. */
  static isAvailable(): boolean {
    return ENTRY.protocol === 'file:' && existsSync(fileURLToPath(ENTRY))
  }

  /** Makes the batch at (epoch, step). Rejects with the thread's error, also when the thread has ended. */
  make(epoch: number, step: number): Promise<Batch> {
    return this.#pending.call((id) => {
      this.#worker.ref()
      this.#worker.postMessage({ id, epoch, step } satisfies BatchRequest)
    })
  }

  /** Ends the thread; pending batches reject. */
  async close(): Promise<void> {
    this.#pending.fail(new Error('the loader was closed before its batch was made'))
    // An idle thread does not keep the process alive, which could end before the thread does.
    this.#worker.ref()
    await this.#worker.terminate()
  }
}
