/** How much faster than ever before a variant may turn out to be. */
const MARGIN = 2
/** A rate counts for problems up to so many times as large: small ones are bound by what a launch costs. */
const LARGER = 4

/** What a problem takes, by the cost model of its spec. */
export interface Work {
  flops: number
  bytes: number
}

/**
 * The rates that variants reached so far: the ceilings by which the cost model predicts how long they take at least.
 * A kernel goes by its name and sources.
 */
export class CostModel {
  /** By kernel and variant: work, and how much of it was done in a millisecond. */
  readonly #rates = new Map<string, { work: Work; speed: Work }[]>()

  /** @param ms of a run, or of a part of it */
  add(kernel: string, variant: string, work: Work, ms: number): void {
    const key = `${kernel}/${variant}`
    const rates = this.#rates.get(key) ?? []
    this.#rates.set(key, rates)
    rates.push({ work, speed: { flops: work.flops / ms, bytes: work.bytes / ms } })
  }

  /** Whether a variant could do some work in `ms`, by the rates that it reached on other. */
  couldTake(kernel: string, variant: string, { flops, bytes }: Work, ms: number): boolean {
    const rates = this.#rates.get(`${kernel}/${variant}`) ?? []
    const speeds = rates.filter(({ work }) => LARGER * (work.flops + work.bytes) >= flops + bytes).map(({ speed }) => speed)
    if (speeds.length === 0) return true
    const most = (name: keyof Work) => Math.max(...speeds.map((speed) => speed[name]))
    // Some kernels compute nothing.
    const least = Math.max(flops > 0 ? flops / most('flops') : 0, bytes / most('bytes'))
    return !(least > MARGIN * ms)
  }
}
