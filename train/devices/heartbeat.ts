/** Milliseconds between two questions, and how many may go unanswered. */
export interface Pulse {
  every: number
  missed: number
}

/** A minute: loading a driver or weaving a large step may take many seconds. */
const PULSE: Pulse = { every: 5000, missed: 12 }

/**
 * Asks again and again whether somebody is there, who counts as hung when nothing was heard after so many questions. Questions count, not
 * time: where both sides were stopped (Ctrl-Z, a laptop that slept), none was missed.
 */
export class Heartbeat {
  readonly #timer: ReturnType<typeof setInterval>
  #unanswered = 0

  constructor(ask: () => void, onSilence: () => void, { every, missed } = PULSE) {
    this.#timer = setInterval(() => {
      if (this.#unanswered === missed) {
        this.stop()
        onSilence()
        return
      }
      this.#unanswered++
      ask()
    }, every)
    // It keeps no process alive.
    ;(this.#timer as { unref?(): void }).unref?.()
  }

  /** Something was heard. */
  heard(): void {
    this.#unanswered = 0
  }

  stop(): void {
    clearInterval(this.#timer)
  }
}
