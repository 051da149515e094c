import type { Batch, BatchSpec } from './batch.ts'

/** Stands for the thread of Node where there is none: a browser makes batches in the worker that trains, while the device computes. */
export class BatchWorker {
  constructor(_spec: BatchSpec) {
    throw new Error('a browser has no thread for batches')
  }

  static isAvailable(): boolean {
    return false
  }

  make(): Promise<Batch> {
    throw new Error('a browser has no thread for batches')
  }

  async close(): Promise<void> {}
}
