export const FORK_MODES = ['serial', 'streams', 'coalesced'] as const

/**
 * How forked branches run on one device; the numbers are the same in each mode. `serial` runs one branch after the other on one stream.
 * `streams` records, encodes and submits each branch as a stream of its own. `coalesced` records them as `streams` does, then fuses matching
 * dispatches of the branches horizontally.
 */
export type ForkMode = (typeof FORK_MODES)[number]

/** A set of branches that start at one point and join at another. */
export interface Fork {
  readonly mode: ForkMode
}

/** The stream of one branch of a fork. */
export interface Lane {
  readonly fork: Fork
  readonly index: number
  readonly name: string
  /** A list of `name` alone. */
  readonly streams: readonly string[]
  /** The lane of the branch's backward pass. */
  readonly backward: Lane
}
