import * as v from 'valibot'
import { count, fields, text } from '../../../engine/base/json.ts'

/** The largest message about branches, in bytes: the state of a worker's branches when it is opened. */
export const MAX_BRANCH_MESSAGE = 2 * 1024 ** 3 - 1
/** Milliseconds between signs of life, and number of those that may be missed. */
export const BRANCH_PULSE = { every: 1000, missed: 10 }
/** Milliseconds that a host may take to say whether it is free. */
export const OFFER_TIMEOUT = 3000

const SESSION = v.pipe(text, v.regex(/^[A-Za-z0-9]{16,40}$/, 'the name of a session'))

/** A request for a worker for branches. */
export const OPEN_REQUEST = fields({
  session: SESSION,
  sources: text,
  halves: v.boolean('true or false'),
  plane: v.optional(count),
})
export type OpenRequest = v.InferOutput<typeof OPEN_REQUEST>
/** The answer of a host: whether it is free for this session. */
export const OPEN_ANSWER = fields({ free: v.boolean('true or false'), why: v.optional(text) })

/** The subject on which a host is asked for a worker. */
export function openSubject(host: string): string {
  return `paraformer.branches.${host}.open`
}

/**
 * The subject of the messages of a session. Every session has subjects of its own, so that late messages of an old one reach nobody.
 */
export function sessionSubject(host: string, session: string, direction: 'in' | 'out'): string {
  return `paraformer.branches.${host}.${session}.${direction}`
}
