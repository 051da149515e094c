/** A request of the page to its worker. */
export type FleetAsked =
  /** Take runs. `credentials` is the content of a file: the seed of an NKey, a token, or nothing. */
  { start: { url: string; name: string; credentials: string } } | { stop: true }

/** A message of the worker to the page. */
export type FleetTold = { note: string } | { progress: string } | { ended: string; failed: boolean }
