/** Adds up the time of several stretches of JavaScript. */
export class Stopwatch {
  /** Milliseconds. */
  total = 0
  #running = false

  /** Runs `fn`, which does not wait, on the clock; a stretch within another counts once. */
  time<T>(fn: () => T): T {
    if (this.#running) return fn()
    this.#running = true
    const start = performance.now()
    try {
      return fn()
    } finally {
      this.total += performance.now() - start
      this.#running = false
    }
  }
}
