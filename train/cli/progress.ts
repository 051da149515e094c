import { SingleBar } from 'cli-progress'
import { printable, say } from './printable.ts'
import { duration } from './table.ts'

/** Seconds between progress lines where the output is no terminal. */
const LINE_EVERY = 10

/** Characters of a bar. */
const WIDTH = 24

/** A bar with text behind it, on one line of the terminal. */
function barLine(share: number, text: string): string {
  const done = Math.round(WIDTH * share)
  const line = `${'█'.repeat(done)}${'░'.repeat(WIDTH - done)} ${Math.floor(100 * share)}% ${text}`
  return line.slice(0, (process.stderr.columns || 80) - 1)
}

/** Progress of long work on stderr: a bar on a terminal, else a line now and then; nothing when `quiet`. */
export class Progress {
  readonly #bar: SingleBar | undefined
  readonly #lines: boolean
  readonly #total: number
  #label = ''
  #began = performance.now()
  #from: number
  #lastLine = performance.now()
  #value: number

  constructor({ total, value = 0, quiet = false }: { total: number; value?: number; quiet?: boolean }) {
    this.#total = total
    this.#from = value
    this.#value = value
    this.#lines = !quiet && !process.stderr.isTTY
    if (quiet || !process.stderr.isTTY) return
    this.#bar = new SingleBar({
      format: (_, { progress }, { label, left }) => barLine(progress, `${left} ${label}`),
      // The terminal stays as it is, so that nothing has to be put right however the process ends.
      hideCursor: false,
      linewrap: true,
      // It would keep Ctrl-C from ending the process.
      gracefulExit: false,
      stream: process.stderr,
      etaBuffer: 50,
    })
    this.#bar.start(total, value, { label: '', left: '' })
  }

  /** Moves to `value` of the total; `label` says how it goes. */
  update(value: number, label: string): void {
    this.#value = value
    this.#label = label
    this.#bar?.update(value, { label, left: `${this.#left()} left` })
    if (this.#lines && performance.now() - this.#lastLine > LINE_EVERY * 1000) this.#line()
  }

  /** Prints a whole line above the bar. */
  note(text: string): void {
    if (!this.#bar) {
      if (this.#lines) say(text)
      return
    }
    process.stderr.write(`\r\x1b[K${printable(text)}\n`)
    this.#bar.render()
  }

  stop(): void {
    this.#bar?.stop()
  }

  #left(): string {
    const done = this.#value - this.#from
    if (done <= 0) return '-'
    return duration((((performance.now() - this.#began) / 1000) * (this.#total - this.#value)) / done)
  }

  #line(): void {
    this.#lastLine = performance.now()
    const share = Math.floor((100 * this.#value) / this.#total)
    process.stderr.write(`${share} % ${this.#label}, ${this.#left()} left\n`)
  }
}
