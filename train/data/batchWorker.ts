// The thread behind BatchWorker: its own entry point, because a worker is started from a file of its own.
import { parentPort, workerData } from 'node:worker_threads'
import { BatchMaker, type BatchSpec } from './batch.ts'
import type { BatchReply, BatchRequest } from './prefetch.ts'

const maker = new BatchMaker(workerData as BatchSpec)

parentPort!.on('message', ({ id, epoch, step }: BatchRequest) => {
  try {
    const batch = maker.make(epoch, step)
    parentPort!.postMessage({ id, batch } satisfies BatchReply, [batch.images.buffer, batch.labels.buffer])
  } catch (error) {
    parentPort!.postMessage({ id, error } satisfies BatchReply)
  }
})
