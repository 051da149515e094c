import { constants } from 'node:os'

/** Signals that ask a process to end: of a closed terminal, of Ctrl-C, and of programs that stop services, jobs and containers. */
export const SIGNALS = ['SIGHUP', 'SIGINT', 'SIGTERM'] as const
export type Signal = (typeof SIGNALS)[number]

/** Milliseconds in which the same signal counts once: npm passes on a Ctrl-C that the process gets from the terminal too. */
const ONCE = 100

/** Milliseconds that an interrupted process has to end on its own. */
const GRACE = 2000

/** Returns the exit code that shells report for a process which a signal ended. */
export function exitCodeOf(signal: Signal): number {
  return 128 + constants.signals[signal]
}

/** A signal ended the wait for some work. */
export class InterruptedError extends Error {
  override readonly name = 'InterruptedError'
}

function atOnce(): void {
  process.exit()
}

/** Turns the first signal into a request to stop; the second ends the process at once. */
export class Interrupt {
  /** The first signal. */
  signal: Signal | undefined
  /** The text that is printed at the first signal. */
  says = 'ending'
  readonly #asked = new AbortController()
  #at = 0
  #ends = false

  constructor() {
    for (const signal of SIGNALS) process.on(signal, this.#handle)
  }

  get asked(): boolean {
    return this.signal !== undefined
  }

  /** Calls `fn` at the first signal, at once if there was one. @returns a function that cancels the call */
  onAsked(fn: () => void): () => void {
    const { signal } = this.#asked
    if (signal.aborted) fn()
    else signal.addEventListener('abort', fn)
    return () => signal.removeEventListener('abort', fn)
  }

  /** Ends work that calls this from time to time. @throws InterruptedError after a signal */
  check(): void {
    if (this.signal !== undefined) throw new InterruptedError(this.signal)
  }

  /** Waits for work that may be abandoned, until a signal comes. @throws InterruptedError at a signal */
  async orStop<T>(work: Promise<T>): Promise<T> {
    let cancel = () => {}
    const stop = new Promise<never>((_, reject) => {
      cancel = this.onAsked(() => reject(new InterruptedError(`${this.signal}`)))
    })
    return Promise.race([work, stop]).finally(cancel)
  }

  /** Makes the process end with the exit code of the signal. */
  end(): void {
    process.exitCode = exitCodeOf(this.signal!)
    this.#ends = true
  }

  /**
   * Ends the handling of signals, after all cleanup. An interrupted process does not wait long for work in the background. A later
   * signal ends the process with the exit code that it has.
   */
  close(): void {
    for (const signal of SIGNALS) {
      process.off(signal, this.#handle)
      process.once(signal, atOnce)
    }
    if (this.#ends) setTimeout(() => process.exit(), GRACE).unref()
  }

  readonly #handle = (signal: Signal) => {
    const now = performance.now()
    if (this.signal !== undefined) {
      if (signal !== this.signal || now - this.#at > ONCE) process.exit(exitCodeOf(signal))
      return
    }
    this.signal = signal
    this.#at = now
    process.stderr.write(`\n${this.says}\n`)
    this.#asked.abort()
  }
}
