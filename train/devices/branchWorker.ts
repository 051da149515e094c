// The process behind ProcessShard: its own entry point, because a process is started from a file of its own.
import { LocalShard } from './localShard.ts'
import { type ShardReply, type ShardRequest, sendError } from './protocol.ts'

let opening: Promise<LocalShard> | undefined

function reply(message: ShardReply): void {
  // Whoever asked may be gone meanwhile, which `disconnect` tells.
  if (process.connected) process.send!(message, undefined, undefined, () => {})
}

async function answer(request: ShardRequest): Promise<unknown> {
  if ('open' in request) {
    opening = LocalShard.open(request.open)
    await opening
    return undefined
  }
  if ('alive' in request) return undefined
  const shard = await opening!
  const call = shard[request.method] as (...args: readonly unknown[]) => Promise<unknown>
  return call.apply(shard, [...request.args])
}

process.on('message', async (request: ShardRequest) => {
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
    (shard) => shard.close(),
    () => {},
  )
})
