import { Chart } from './chart.ts'
import { byId, element } from './dom.ts'
import { showGains } from './gains.ts'
import { plainWords } from './plainWords.ts'
import type { RunInfo } from './protocol.ts'
import { evaluations, factsOf, lastOfEachPrefix } from './runNumbers.ts'

const MAX_NOTES = 5
/** Milliseconds between drawings. */
const DRAW_EVERY = 200
const TITLE = document.title

/** Shows a run: its curves, what its branches do, its numbers, notes, and how far it is in the title. */
export class RunView {
  readonly #charts = [new Chart(byId('loss'), 'loss'), new Chart(byId('accuracy'), 'accuracy')]
  #run: RunInfo | undefined
  #memory: { liveBytes: number; peakBytes: number } | undefined
  #drawing = false
  /** Whether something has changed since the last drawing began. */
  #late = false

  /** Shows another run, or none. */
  open(run: RunInfo | undefined): void {
    this.#run = run
    this.#memory = undefined
    byId('results').hidden = !run
    if (run) nameCharts(run)
    for (const chart of this.#charts) chart.show([], 0)
    byId('gains-figure').hidden = true
    byId('numbers').replaceChildren()
    byId<HTMLProgressElement>('progress').value = 0
    document.title = TITLE
    this.draw()
  }

  /** Draws what has changed. @param memory bytes on the device */
  update(memory: { liveBytes: number; peakBytes: number }): void {
    this.#memory = memory
    const { step, totalSteps } = this.#run!
    // A hidden tab draws nothing, but its title is seen.
    document.title = `${Math.floor((100 * step) / totalSteps)} % trained · ${TITLE}`
    this.draw()
  }

  /** Draws, one part a frame, so that no frame waits long; and not more often than the eye follows. */
  draw(): void {
    this.#late = true
    if (this.#drawing || !this.#run) return
    this.#drawing = true
    const parts = [
      (run: RunInfo) => this.#showNumbers(run),
      ...this.#charts.map(
        (chart) =>
          ({ metrics, branches }: RunInfo) =>
            chart.show(metrics, branches),
      ),
    ]
    const next = () => {
      const part = parts.shift()
      if (this.#run) part?.(this.#run)
      if (parts.length > 0) requestAnimationFrame(next)
      else setTimeout(() => this.#drawn(), DRAW_EVERY)
    }
    requestAnimationFrame(next)
    this.#late = false
  }

  /** Adds a note; one that stands there already moves to the end. */
  note(text: string): void {
    const notes = byId('notes')
    const plain = plainWords(text)
    for (const line of [...notes.children]) if (line.textContent === plain) line.remove()
    notes.append(element('li', { textContent: plain }))
    while (notes.children.length > MAX_NOTES) notes.firstChild!.remove()
  }

  clearNotes(): void {
    byId('notes').replaceChildren()
  }

  #drawn(): void {
    this.#drawing = false
    if (this.#late) this.draw()
  }

  #showNumbers(run: RunInfo): void {
    const { metrics, branches, step, totalSteps } = run
    byId<HTMLProgressElement>('progress').value = totalSteps > 0 ? step / totalSteps : 0
    byId('numbers').replaceChildren(
      ...factsOf(run, this.#memory).flatMap(([name, value]) => [
        element('dt', { textContent: name }),
        element('dd', { textContent: value }),
      ]),
    )
    const evaluated = lastOfEachPrefix(evaluations(metrics), branches)
    showGains(run, evaluated.length > 0 ? evaluated : lastOfEachPrefix(metrics, branches))
  }
}

function nameCharts({ branches, settings }: RunInfo): void {
  const what = settings.architecture === 'ensemble' ? 'member' : 'branch'
  const by = branches > 1 ? ` of every prefix: ${what} 1 alone (blue) to all ${branches} (orange)` : ''
  byId('loss-name').textContent = `Loss${by}`
  byId('accuracy-name').textContent = `Accuracy${by}`
}
