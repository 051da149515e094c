import * as errors from '../../engine/base/errors.ts'
import type { BranchWorkerSpec } from './localWorker.ts'
import type { BranchWorker } from './worker.ts'

/** Calls of a worker that cross to its process. */
export type Method = Exclude<keyof BranchWorker, 'name' | 'own' | 'lost' | 'hurry' | 'close'>

/** What the process of a worker is asked. The first request opens the worker; each is answered, `alive` at once. */
export type BranchWorkerRequest = { id: number } & (
  | { open: BranchWorkerSpec }
  | { alive: true }
  | { method: Method; args: readonly unknown[] }
)

export type BranchWorkerReply = { id: number; value: unknown } | { id: number; error: SentError }

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
