/** What the page asks its worker. */
export type FleetAsked =
  /** Take runs. `credentials` is the content of a file: the seed of an NKey, a token, or nothing. */
  { start: { url: string; name: string; credentials: string } } | { stop: true }

/** What the worker tells the page. */
export type FleetTold = { note: string } | { progress: string } | { ended: string; failed: boolean }
