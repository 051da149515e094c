/**
 * How forked branches run on one device; the numbers are the same.
 * `serial`: one after the other on one stream. `streams`: each recorded, encoded and submitted as a stream of its own.
 * `coalesced`: recorded as in `streams`, then woven: matching dispatches of the branches become one.
 */
export type ForkMode = (typeof FORK_MODES)[number]

export const FORK_MODES = ['serial', 'streams', 'coalesced'] as const

/** Branches that left one point and join at another. */
export interface Fork {
  readonly mode: ForkMode
}

/** The stream of one branch of a fork. */
export interface Lane {
  readonly fork: Fork
  readonly index: number
  readonly name: string
  /** The name alone. */
  readonly streams: readonly string[]
  /** The lane of the same branch's backward pass. */
  readonly backward: Lane
}
