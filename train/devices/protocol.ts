import * as errors from '../../engine/base/errors.ts'
import type { ShardSpec } from './localShard.ts'
import type { Shard } from './shard.ts'

/** Calls of a shard that cross to its process. */
export type Method = Exclude<keyof Shard, 'name' | 'own' | 'lost' | 'hurry' | 'close'>

/** What the process of a shard is asked. The first request opens the shard; each is answered, `alive` at once. */
export type ShardRequest = { id: number } & (
  | { open: ShardSpec }
  | { alive: true }
  | { method: Method; args: readonly unknown[] }
)

export type ShardReply = { id: number; value: unknown } | { id: number; error: SentError }

/** An error on its way between processes: structured clones lose its class. */
interface SentError {
  name: string
  message: string
  stack: string | undefined
}

export function sendError(error: unknown): SentError {
  const { name, message, stack } = error instanceof Error ? error : new Error(String(error))
  return { name, message, stack }
}

/** The error again, of its class where that is one of the engine's. */
export function receiveError({ name, message, stack }: SentError): Error {
  const known = Object.values(errors).find((one) => one.name === name) as (new (text: string) => Error) | undefined
  return Object.assign(new (known ?? Error)(message), { stack })
}
