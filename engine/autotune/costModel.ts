import { getOrMake } from '../base/maps.ts'

/** The factor by which a variant may turn out faster than its best rate so far. */
const MARGIN = 2
/** A rate predicts the time of tasks with up to this many times its work. Rates of much smaller tasks are bound by the cost of a launch. */
const LARGER = 4

/** The work of a task, as its kernel spec counts it. */
export interface Work {
  flops: number
  bytes: number
}

/** Predicts the least time of a variant from the rates that it reached so far. Kernels go by `kernelKey`. */
export class CostModel {
  /** For each kernel and variant, the work of each measurement and the work done per millisecond in it. */
  readonly #rates = new Map<string, { work: Work; speed: Work }[]>()

  /** Adds a measurement. @param ms the milliseconds of a run, or of a part of a run */
  add(kernel: string, variant: string, work: Work, ms: number): void {
    const rates = getOrMake(this.#rates, `${kernel}/${variant}`, () => [])
    rates.push({ work, speed: { flops: work.flops / ms, bytes: work.bytes / ms } })
  }

  /** Tells whether a variant could do the work in `ms` milliseconds; true where no rate is known. */
  couldTake(kernel: string, variant: string, { flops, bytes }: Work, ms: number): boolean {
    const rates = this.#rates.get(`${kernel}/${variant}`) ?? []
    const speeds = rates.filter(({ work }) => LARGER * (work.flops + work.bytes) >= flops + bytes).map(({ speed }) => speed)
    if (speeds.length === 0) return true
    const best = (name: keyof Work) => Math.max(...speeds.map((speed) => speed[name]))
    // A kernel without floating-point operations, such as a copy, is limited by its bytes alone.
    const least = Math.max(flops > 0 ? flops / best('flops') : 0, bytes / best('bytes'))
    return !(least > MARGIN * ms)
  }
}
