/** Turns the first Ctrl-C (or SIGTERM) into a request to stop; the second ends the process at once. */
export class Interrupt {
  asked = false
  readonly #handle = () => {
    if (this.asked) process.exit(130)
    this.asked = true
    process.stderr.write('\nsaving; press Ctrl-C again to end at once\n')
  }

  constructor() {
    process.on('SIGINT', this.#handle)
    process.on('SIGTERM', this.#handle)
  }

  close(): void {
    process.off('SIGINT', this.#handle)
    process.off('SIGTERM', this.#handle)
  }
}
