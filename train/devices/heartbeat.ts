export interface Pulse {
  /** Milliseconds between two questions. */
  every: number
  /** Number of unanswered questions after which the other side counts as hung. */
  missed: number
}

/** This pulse gives up after a minute, since loading a driver or planning a large step may take many seconds. */
const PULSE: Pulse = { every: 5000, missed: 12 }

/** This pulse gives up after 3 s, for a process that was asked to end and will be killed soon. */
const HURRY: Pulse = { every: 300, missed: 10 }

/**
 * Asks again and again whether the other side is alive. Unanswered questions count, not time: none is missed while both sides are
 * stopped (Ctrl-Z, a laptop that sleeps).
 */
export class Heartbeat {
  readonly #ask: () => void
  readonly #onSilence: () => void
  #timer: ReturnType<typeof setInterval> | undefined
  #unanswered = 0

  constructor(ask: () => void, onSilence: () => void, pulse = PULSE) {
    this.#ask = ask
    this.#onSilence = onSilence
    this.#start(pulse)
  }

  /** Takes note of a sign of life. */
  heard(): void {
    this.#unanswered = 0
  }

  /** Switches to a silence of a few seconds. */
  hurry(): void {
    if (!this.#timer) return
    this.stop()
    this.#unanswered = 0
    this.#start(HURRY)
  }

  stop(): void {
    clearInterval(this.#timer)
    this.#timer = undefined
  }

  #start({ every, missed }: Pulse): void {
    this.#timer = setInterval(() => {
      if (this.#unanswered === missed) {
        this.stop()
        this.#onSilence()
        return
      }
      this.#unanswered++
      this.#ask()
    }, every)
    // The timer does not keep the process alive.
    ;(this.#timer as { unref?(): void }).unref?.()
  }
}
