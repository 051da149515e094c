import type * as v from 'valibot'
import { amount, fields, mapOf, text } from '../../../engine/base/json.ts'

/** The schema of a check. */
export const CHECK = fields({
  device: text,
  adapter: text,
  driver: text,
  sources: text,
  /** Hash of the study file. */
  study: text,
  at: text,
  arms: mapOf(fields({ bits: text, seconds: amount })),
})
/** A device on which the same seed was seen to give the same bits. */
export type Check = v.InferOutput<typeof CHECK>
