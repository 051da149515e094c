/** Milliseconds between two questions, and how many may go unanswered. */
export interface Pulse {
  every: number
  missed: number
}

/** A minute: loading a driver or weaving a large step may take many seconds. */
const PULSE: Pulse = { every: 5000, missed: 12 }

/** Where the process is asked to end and will be killed soon: what does not answer for 3 s is not worth waiting for. */
const HURRY: Pulse = { every: 300, missed: 10 }

/**
 * Asks again and again whether somebody is there, who counts as hung when nothing was heard after so many questions. Questions count, not
 * time: where both sides were stopped (Ctrl-Z, a laptop that slept), none was missed.
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

  /** Something was heard. */
  heard(): void {
    this.#unanswered = 0
  }

  /** Waits for seconds only from now on. */
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
    // It keeps no process alive.
    ;(this.#timer as { unref?(): void }).unref?.()
  }
}
