import * as errors from '../../engine/base/errors.ts'
import type { BranchWorker } from './branchWorker.ts'
import type { BranchWorkerSpec } from './localBranchWorker.ts'
import type { ReplicaSpec } from './localReplica.ts'
import type { ReplicaWorker } from './replicaWorker.ts'

/** Methods of a worker that its process carries out. */
export type BranchMethod = Exclude<keyof BranchWorker, 'name' | 'own' | 'lost' | 'hurry' | 'close'>
export type ReplicaMethod = Exclude<keyof ReplicaWorker, 'name' | 'lost' | 'hurry' | 'close'>
export type Method = BranchMethod | ReplicaMethod

/** Opens a worker for branches, or a replica. */
export type OpenRequest = { open: BranchWorkerSpec } | { replica: ReplicaSpec }

/** A request to the process of a worker. The first one opens the worker. Each request gets a reply; `alive` gets it at once. */
export type WorkerRequest = { id: number } & (OpenRequest | { alive: true } | { method: Method; args: readonly unknown[] })

export type WorkerReply = { id: number; value: unknown } | { id: number; error: SentError }

/** An error on its way between processes, since structured clones lose its class. */
interface SentError {
  name: string
  message: string
  stack: string | undefined
}

export function sendError(error: unknown): SentError {
  const { name, message, stack } = error instanceof Error ? error : new Error(String(error))
  return { name, message, stack }
}

/** Makes the error again, of its class if that is one of the engine's. */
export function receiveError({ name, message, stack }: SentError): Error {
  const known = Object.values(errors).find((value) => value.name === name) as (new (text: string) => Error) | undefined
  return Object.assign(new (known ?? Error)(message), { stack })
}
