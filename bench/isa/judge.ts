import type { Compiled } from './compile.ts'
import { type Estimate, estimate } from './estimate.ts'
import { findFlow } from './flow.ts'
import { findHot, type Hot } from './hot.ts'
import { type Listing, readListing } from './listing.ts'
import type { Machine } from './machine.ts'
import type { Source } from './source.ts'

/** The facts about a compiled shader. */
export interface Judgement<S extends Source = Source> {
  source: S
  /** The reason why there is no code. */
  error: string | undefined
  listing: Listing | undefined
  hot: Hot | undefined
  estimate: Estimate | undefined
}

/** Reads what the compiler made of a shader. */
export function judge<S extends Source>({ source, text, error }: Compiled<S>, machine: Machine): Judgement<S> {
  const none = { source, listing: undefined, hot: undefined, estimate: undefined }
  if (error !== undefined) return { ...none, error }
  const listing = readListing(text)
  const flow = findFlow(listing.blocks, source.uniforms)
  const hot = findHot(flow)
  return {
    source,
    error: undefined,
    listing,
    hot,
    estimate: estimate(listing, flow, hot?.multiplies ? hot.loop : undefined, source.work, machine),
  }
}
