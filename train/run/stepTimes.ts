/** Largest number of mini-batches whose times are kept. */
const KEPT = 1000

/** Times the mini-batches of a session: the first, with which kernels are compiled and steps captured, and those after it. */
export class StepTimes {
  /** Seconds until the first mini-batch was done; undefined before. */
  cold: number | undefined
  #last = performance.now()
  readonly #seconds: number[] = []

  /** Is told that training begins, or goes on after a pause. */
  begin(): void {
    this.#last = performance.now()
  }

  /** Is told that a mini-batch is done. */
  done(): void {
    const now = performance.now()
    const seconds = (now - this.#last) / 1000
    this.#last = now
    if (this.cold === undefined) this.cold = seconds
    else this.#seconds.push(seconds)
    if (this.#seconds.length > KEPT) this.#seconds.shift()
  }

  /** The median of the seconds from one mini-batch to the next, the first one left out; undefined before the second. */
  get warm(): number | undefined {
    const sorted = [...this.#seconds].sort((a, b) => a - b)
    return sorted[sorted.length >> 1]
  }
}
