// The process of a RemoteWorker. It is an entry point of its own, because a process starts from a file.
import { LocalBranchWorker } from './localBranchWorker.ts'
import { LocalReplica } from './localReplica.ts'
import { sendError, type WorkerReply, type WorkerRequest } from './protocol.ts'

let opening: Promise<LocalBranchWorker | LocalReplica> | undefined

function reply(message: WorkerReply): void {
  // The parent may be gone meanwhile; the `disconnect` event tells.
  if (process.connected) process.send!(message, undefined, undefined, () => {})
}

async function answer(request: WorkerRequest): Promise<unknown> {
  if ('open' in request || 'replica' in request) {
    opening = 'open' in request ? LocalBranchWorker.open(request.open) : LocalReplica.open(request.replica)
    await opening
    return undefined
  }
  if ('alive' in request) return undefined
  const worker = (await opening!) as unknown as Record<string, (...args: readonly unknown[]) => Promise<unknown>>
  const call = worker[request.method]!
  return call.apply(worker, [...request.args])
}

process.on('message', async (request: WorkerRequest) => {
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
