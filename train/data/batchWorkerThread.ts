// The thread of a BatchWorker. It is an entry point of its own, because a thread starts from a file.
import { parentPort, workerData } from 'node:worker_threads'
import { BatchMaker, type BatchSpec } from './batch.ts'
import type { BatchReply, BatchRequest } from './batchWorker.ts'

const maker = new BatchMaker(workerData as BatchSpec)

parentPort!.on('message', ({ id, epoch, step }: BatchRequest) => {
  try {
    const value = maker.make(epoch, step)
    parentPort!.postMessage({ id, value } satisfies BatchReply, [
      value.images.buffer,
      value.labels.buffer,
      value.samples.buffer,
    ])
  } catch (error) {
    parentPort!.postMessage({ id, error } satisfies BatchReply)
  }
})
