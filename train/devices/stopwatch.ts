/** Adds up the time of several stretches of JavaScript. */
export class Stopwatch {
  /** Milliseconds. */
  total = 0

  /** Runs `fn`, which does not wait, on the clock; not within another stretch. */
  time<T>(fn: () => T): T {
    const start = performance.now()
    try {
      return fn()
    } finally {
      this.total += performance.now() - start
    }
  }
}
