import { BranchCards } from './branchCards.ts'
import { byId, element } from './dom.ts'
import { Drawing } from './drawing.ts'
import type { Answer, ModelInfo, PageWorker } from './protocol.ts'
import { clearTrouble } from './trouble.ts'

const percent = (share: number) => `${(100 * share).toFixed(1)} %`

/** The tab in which a model answers: image, branches side by side, their sum, and the answer of every prefix. */
export class TryTab {
  readonly #client: PageWorker
  readonly #trouble: (error: unknown) => void
  #model: ModelInfo | undefined
  #cards: BranchCards | undefined
  #drawing: Drawing | undefined
  /** The pixels of the file that is shown; undefined for a drawing. */
  #pixels: Uint8Array | undefined
  #asking = false
  #again = false

  constructor(client: PageWorker, trouble: (error: unknown) => void) {
    this.#client = client
    this.#trouble = trouble
    const source = byId<HTMLSelectElement>('source')
    source.addEventListener('change', () => this.#take(source.value as 'run' | 'shipped'))
    const open = byId<HTMLInputElement>('open-model')
    open.addEventListener('change', () => {
      const [file] = open.files ?? []
      if (file) this.#take({ name: file.name, file })
      open.value = ''
    })
    const panel = byId('try')
    panel.addEventListener('dragover', (event) => event.preventDefault())
    panel.addEventListener('drop', (event) => {
      event.preventDefault()
      const [file] = event.dataTransfer?.files ?? []
      if (file) this.#dropped(file)
    })
  }

  /** Shows the tab. Where no model was chosen yet, it loads the model that comes with the page. */
  show(): void {
    if (!this.#model) this.#take('shipped')
    else this.#ask()
  }

  async #dropped(file: File): Promise<void> {
    if (file.name.endsWith('.safetensors')) return this.#take({ name: file.name, file })
    if (!this.#drawing) return
    clearTrouble()
    try {
      const pixels = await this.#client.call('readImage', file.name, file)
      const image = await createImageBitmap(file, { colorSpaceConversion: 'none' })
      this.#drawing.show(image)
      image.close()
      // The answer is about the file, not about what the canvas shows of it.
      this.#pixels = pixels
      this.#ask()
    } catch (error) {
      this.#trouble(error)
    }
  }

  async #take(source: 'run' | 'shipped' | { name: string; file: File }): Promise<void> {
    clearTrouble()
    byId('model-name').textContent = 'Loading the model…'
    try {
      this.#model = await this.#client.call('model', source)
      this.#build(this.#model)
      this.#ask()
    } catch (error) {
      this.#trouble(error)
    }
    byId('model-name').textContent = this.#model ? `Answers: ${this.#model.from}, ${this.#model.branches} branches.` : ''
  }

  #build({ branches }: ModelInfo): void {
    const canvas = element('canvas', { id: 'draw' })
    canvas.setAttribute('role', 'img')
    canvas.setAttribute('aria-label', 'a digit drawn by you; without a pointer, drop or open an image')
    const drawing = new Drawing(canvas, () => {
      this.#pixels = undefined
      this.#ask()
    })
    this.#pixels = undefined
    drawing.example()
    this.#drawing = drawing
    this.#cards = new BranchCards(branches, () => this.#ask())
    const clear = element('button', { type: 'button', textContent: 'Clear' })
    clear.addEventListener('click', () => {
      drawing.clear()
      this.#pixels = undefined
      this.#ask()
    })
    const open = element('input', { type: 'file', id: 'open-image', accept: 'image/*' })
    open.addEventListener('change', () => open.files?.[0] && this.#dropped(open.files[0]))
    const threshold = element('input', { type: 'range', id: 'threshold', min: '0.5', max: '1', step: '0.01', value: '0.8' })
    threshold.addEventListener('input', () => this.#ask())
    byId('picture').replaceChildren(
      element(
        'div',
        { className: 'model' },
        element(
          'div',
          {},
          element('h2', { textContent: '1. An image, cut into patches' }),
          canvas,
          element(
            'div',
            { className: 'row' },
            clear,
            element('label', { htmlFor: 'open-image', className: 'button', textContent: 'Open an image' }),
            open,
          ),
        ),
        element(
          'div',
          { className: 'branches' },
          element('h2', { textContent: '2. Branches look at it side by side' }),
          this.#cards.list,
          element('p', {
            textContent: 'Colour shows where a branch looks. Switch branches off, or move them, and see the answers follow.',
          }),
        ),
        element(
          'div',
          { className: 'sum' },
          element('h2', { textContent: '3. Their sum is the answer' }),
          element('div', { id: 'answers', className: 'answers' }),
          element('h2', { textContent: 'Every prefix is a model' }),
          element('div', { id: 'prefixes', className: 'answers' }),
          element(
            'div',
            { className: 'exit' },
            element('label', { htmlFor: 'threshold', textContent: 'stop when sure by' }),
            threshold,
            element('output', { id: 'exit' }),
          ),
        ),
      ),
    )
  }

  /** Asks the model; while it answers, only the last change is remembered. */
  async #ask(): Promise<void> {
    if (this.#asking) {
      this.#again = true
      return
    }
    const { size, channels, grid } = this.#model!
    this.#asking = true
    try {
      const order = this.#cards!.chosen
      const answer = await this.#client.call('ask', { pixels: this.#pixels ?? this.#drawing!.pixels(size, channels), order })
      this.#cards!.draw(this.#drawing!.canvas, answer.attention, grid)
      this.#show(answer, order)
    } catch (error) {
      this.#trouble(error)
    } finally {
      this.#asking = false
      if (this.#again) {
        this.#again = false
        this.#ask()
      }
    }
  }

  #show({ probabilities }: Answer, order: readonly number[]): void {
    const names = this.#model!.classNames
    const bestOf = (row: readonly number[]) => row.indexOf(Math.max(...row))
    const bar = (label: string, share: number, best: boolean) => {
      const meter = element('meter', { min: 0, max: 1, value: share })
      meter.setAttribute('aria-label', `${label}: ${percent(share)}`)
      const className = best ? 'best' : ''
      return [
        element('span', { className, textContent: label }),
        meter,
        element('span', { className, textContent: percent(share) }),
      ]
    }
    const whole = probabilities.at(-1)!
    byId('answers').replaceChildren(...whole.flatMap((share, c) => bar(names[c]!, share, c === bestOf(whole))))
    const threshold = Number(byId<HTMLInputElement>('threshold').value)
    const sure = probabilities.findIndex((row) => Math.max(...row) >= threshold)
    byId('prefixes').replaceChildren(
      ...probabilities.flatMap((row, k) => {
        const added =
          probabilities.length === 1
            ? 'all'
            : order
                .slice(0, k + 1)
                .map((branch) => branch + 1)
                .join(' + ')
        return bar(`${added}: ${names[bestOf(row)]}`, Math.max(...row), k === sure)
      }),
    )
    byId('exit').textContent =
      sure < 0
        ? `${percent(threshold)}: no prefix is`
        : `${percent(threshold)}: after ${sure + 1} of ${probabilities.length}, it is ${names[bestOf(probabilities[sure]!)]}`
  }
}
