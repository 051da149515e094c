import type { KV, KvEntry } from '@nats-io/kv'
import { parseJson } from '../../engine/base/json.ts'
import { FORMAT } from '../run/format.ts'
import { CLAIM, type Claim, MAX_MESSAGE } from './messages.ts'
import { patiently, pause } from './patience.ts'

/** The code of the server's answer to an entry that changed meanwhile. */
const WRONG_LAST_SEQUENCE = 10071

/** Another attempt has the run now, so that this one may change nothing any more. */
export class FencedError extends Error {
  override readonly name = 'FencedError'
}

/** An entry with the revision under which it was read. */
export interface ReadClaim {
  claim: Claim
  revision: number
}

/** Reads the entry of a run; undefined where there is none. @throws UserError for one that is malformed */
export async function readClaim(bucket: KV, key: string): Promise<ReadClaim | undefined> {
  const entry = await patiently(() => bucket.get(key))
  return entry && entry.operation === 'PUT' ? parseClaim(entry) : undefined
}

/** @throws UserError for an entry that is malformed */
export function parseClaim(entry: KvEntry): ReadClaim {
  const { key, revision, length } = entry
  const json = length > MAX_MESSAGE ? '' : entry.string()
  return { claim: parseJson(CLAIM, json, `the entry of run ${key}`), revision }
}

/**
 * Changes the entry of a run by compare-and-set, again and again until the server has answered.
 * @param change returns the new entry, or undefined where nothing is to be changed; it may be called several times, and throws to give up
 * @returns the entry that is there in the end
 */
export async function changeClaim(
  bucket: KV,
  key: string,
  change: (before: Claim | undefined) => Claim | undefined,
): Promise<Claim | undefined> {
  for (;;) {
    const before = await readClaim(bucket, key)
    const after = change(before?.claim)
    if (after === undefined) return before?.claim
    const value = JSON.stringify({ ...after, format: FORMAT })
    try {
      await (before ? bucket.update(key, value, before.revision) : bucket.create(key, value))
      return after
    } catch (error) {
      // Whether a change without an answer took effect shows when the entry is read again.
      if (!isConflict(error)) await pause()
    }
  }
}

/** Whether no further attempt at a run is made. */
export function hasEnded({ state }: Claim): boolean {
  return state === 'done' || state === 'failed' || state === 'collected'
}

/** @throws FencedError unless this attempt still has the run */
export function checkFence(claim: Claim | undefined, attempt: number, worker: string): Claim {
  if (claim?.state === 'running' && claim.attempt === attempt && claim.worker === worker) return claim
  const has = claim?.worker === undefined ? 'nobody' : `attempt ${claim.attempt} of ${claim.worker}`
  throw new FencedError(`attempt ${attempt} of ${worker} was given up; ${has} has the run`)
}

function isConflict(error: unknown): boolean {
  const { code, message = '' } = error as { code?: number; message?: string }
  return code === WRONG_LAST_SEQUENCE || /wrong last sequence/.test(message)
}
