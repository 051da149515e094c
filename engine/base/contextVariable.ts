/** A variable with dynamic scope, as Python's ContextVar: a function sees the value that the innermost `run` around it sets. */
export class ContextVariable<T> {
  current: T

  /** @param initial the value outside any `run` */
  constructor(initial: T) {
    this.current = initial
  }

  /** Runs `fn`, which must not be asynchronous, with another value. */
  run<R>(value: T, fn: () => R): R {
    const outer = this.current
    this.current = value
    try {
      return fn()
    } finally {
      this.current = outer
    }
  }
}
