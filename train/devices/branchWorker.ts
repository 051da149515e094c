// The process behind ProcessBranchWorker: its own entry point, because a process is started from a file of its own.
import { LocalBranchWorker } from './localWorker.ts'
import { type BranchWorkerReply, type BranchWorkerRequest, sendError } from './protocol.ts'

let opening: Promise<LocalBranchWorker> | undefined

function reply(message: BranchWorkerReply): void {
  // Whoever asked may be gone meanwhile, which `disconnect` tells.
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

// Ctrl-C and the end of a terminal reach all processes in it; what that means, the one that trains decides.
for (const signal of ['SIGHUP', 'SIGINT', 'SIGTERM'] as const) process.on(signal, () => {})
// What is printed there is lost with it, nothing else.
for (const stream of [process.stdout, process.stderr]) stream.on('error', () => {})

// The one that trains is done, or gone: with the device this process ends too.
process.on('disconnect', () => {
  opening?.then(
    (worker) => worker.close(),
    () => {},
  )
})
