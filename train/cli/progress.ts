import { SingleBar } from 'cli-progress'
import { printable, say } from './printable.ts'
import { duration } from './table.ts'

/** Seconds between progress lines when the output is no terminal. */
const LINE_EVERY = 10

/** Characters of a bar. */
const WIDTH = 24

/** Shows the progress of work on images. @param work gets a function to call with the number of images done */
export function withProgress<T>(total: number, work: (onDone: (images: number) => void) => Promise<T>): Promise<T> {
  const progress = new Progress({ total })
  return work((images) => progress.update(images, `${images}/${total} images`)).finally(() => progress.stop())
}

/** Draws a bar and a text after it, cut to one line of the terminal. */
function barLine(share: number, text: string): string {
  const done = Math.round(WIDTH * share)
  const line = `${'█'.repeat(done)}${'░'.repeat(WIDTH - done)} ${Math.floor(100 * share)}% ${text}`
  return line.slice(0, (process.stderr.columns || 80) - 1)
}

/** Progress of long work on stderr: a bar on a terminal, else a line every few seconds; nothing when `quiet`. */
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
      // The terminal's settings stay as they are, so that none must be restored however the process ends.
      hideCursor: false,
      linewrap: true,
      // A graceful exit would keep Ctrl-C from ending the process.
      gracefulExit: false,
      stream: process.stderr,
      etaBuffer: 50,
    })
    this.#bar.start(total, value, { label: '', left: '' })
  }

  /** Moves to `value` of the total, with a text after the bar. */
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
