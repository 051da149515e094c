/** Adds up the time of several stretches of JavaScript. */
export class Stopwatch {
  /** Milliseconds. */
  total = 0

  /** Times `fn`, which must not be async, nor be called within another stretch. */
  time<T>(fn: () => T): T {
    const start = performance.now()
    try {
      return fn()
    } finally {
      this.total += performance.now() - start
    }
  }
}
