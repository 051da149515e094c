import { constants } from 'node:os'

/** What asks a process to end: a closed terminal, Ctrl-C, and everything that stops services, jobs and containers. */
export const SIGNALS = ['SIGHUP', 'SIGINT', 'SIGTERM'] as const
export type Signal = (typeof SIGNALS)[number]

/** Milliseconds in which a signal that comes twice is one: npm passes Ctrl-C on to processes that the terminal sends it to itself. */
const ONCE = 100

/** Milliseconds that an interrupted process has to end by itself. */
const GRACE = 2000

/** The exit code that shells give a process which a signal ended. */
export function exitCodeOf(signal: Signal): number {
  return 128 + constants.signals[signal]
}

/** Thrown where a signal ended what was waited for. */
export class InterruptedError extends Error {
  override readonly name = 'InterruptedError'
}

function atOnce(): void {
  process.exit()
}

/** Turns the first signal into a request to stop; the second ends the process at once. */
export class Interrupt {
  /** The first one. */
  signal: Signal | undefined
  /** Said at the first signal. */
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

  /** Calls `fn` at the first signal, at once if there was one. @returns what makes it not to be called any more */
  onAsked(fn: () => void): () => void {
    const { signal } = this.#asked
    if (signal.aborted) fn()
    else signal.addEventListener('abort', fn)
    return () => signal.removeEventListener('abort', fn)
  }

  /** The result of work that nothing is lost with, unless a signal comes before. @throws InterruptedError at a signal */
  async orStop<T>(work: Promise<T>): Promise<T> {
    let forget = () => {}
    const stop = new Promise<never>((_, reject) => {
      forget = this.onAsked(() => reject(new InterruptedError(`${this.signal}`)))
    })
    return Promise.race([work, stop]).finally(forget)
  }

  /** The process is to end with the code of the signal. */
  end(): void {
    process.exitCode = exitCodeOf(this.signal!)
    this.#ends = true
  }

  /**
   * To be called when all is cleaned up. What still runs in the background of an interrupted process is not waited for; a signal that comes
   * after the work ends the process with the exit code that it has.
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
