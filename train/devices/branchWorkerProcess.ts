// The process of a RemoteBranchWorker. It is an entry point of its own, because a process starts from a file.
import { LocalBranchWorker } from './localBranchWorker.ts'
import { type BranchWorkerReply, type BranchWorkerRequest, sendError } from './protocol.ts'

let opening: Promise<LocalBranchWorker> | undefined

function reply(message: BranchWorkerReply): void {
  // The parent may be gone meanwhile; the `disconnect` event tells.
  if (process.connected) process.send!(message, undefined, undefined, () => {})
}

async function answer(request: BranchWorkerRequest): Promise<unknown> {
  if ('open' in request) {
    opening = LocalBranchWorker.open(request.open)
    await opening
    return undefined
  }
  if ('alive' in request) return undefined
  const worker = await opening!
  const call = worker[request.method] as (...args: readonly unknown[]) => Promise<unknown>
  return call.apply(worker, [...request.args])
}

process.on('message', async (request: BranchWorkerRequest) => {
  try {
    reply({ id: request.id, value: await answer(request) })
  } catch (error) {
    reply({ id: request.id, error: sendError(error) })
  }
})

// Ctrl-C and the end of a terminal reach all its processes; the parent decides what they mean.
for (const signal of ['SIGHUP', 'SIGINT', 'SIGTERM'] as const) process.on(signal, () => {})
// A failure to print ends nothing.
for (const stream of [process.stdout, process.stderr]) stream.on('error', () => {})

// The parent is done or gone. Without its device this process ends too.
process.on('disconnect', () => {
  opening?.then(
    (worker) => worker.close(),
    () => {},
  )
})
