import type { Problem } from './survey.ts'

/** How much faster than ever before a variant may turn out to be. */
const MARGIN = 2
/** A rate counts for problems up to so many times as large: small ones are bound by what a launch costs. */
const LARGER = 4

interface Rate {
  work: number
  /** Of the spec's cost model, by millisecond. */
  flops: number
  bytes: number
}

/** The rates that variants reached so far: the ceilings that the cost model of the specs predicts times with. */
export class Rates {
  readonly #rates = new Map<string, Rate[]>()

  /** @param ms of a run of the problem, or of a part of it */
  add({ spec, problem }: Problem, variant: string, ms: number): void {
    const [flops, bytes] = [spec.flops(problem), spec.bytes(problem)]
    const key = `${spec.name}/${variant}`
    const rates = this.#rates.get(key) ?? []
    this.#rates.set(key, rates)
    rates.push({ work: flops + bytes, flops: flops / ms, bytes: bytes / ms })
  }

  /** Whether a variant could solve a problem in `ms`, by the rates that it reached on others. */
  couldTake({ spec, problem }: Problem, variant: string, ms: number): boolean {
    const [flops, bytes] = [spec.flops(problem), spec.bytes(problem)]
    const rates = this.#rates.get(`${spec.name}/${variant}`)?.filter(({ work }) => LARGER * work >= flops + bytes) ?? []
    if (rates.length === 0) return true
    const least = Math.max(
      flops / Math.max(...rates.map((rate) => rate.flops)),
      bytes / Math.max(...rates.map((rate) => rate.bytes)),
    )
    return !(least > MARGIN * ms)
  }
}
