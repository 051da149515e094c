import { announce } from './announce.ts'
import { answerSentence, showAnswer } from './answers.ts'
import { BranchCards } from './branchCards.ts'
import { byId } from './dom.ts'
import { EXAMPLE_ANSWER, EXAMPLE_MODEL } from './exampleAnswer.ts'
import { ModelChoice } from './modelChoice.ts'
import { wordsOf } from './modelWords.ts'
import type { Answer, ModelInfo, PageWorker } from './protocol.ts'
import { clearTrouble, type Trouble } from './trouble.ts'
import { TryImage } from './tryImage.ts'

/** The tab in which a model answers: image, branches side by side, their sum, and the answer of every prefix. */
export class TryTab {
  readonly #client: PageWorker
  readonly #trouble: Trouble
  readonly #choice: ModelChoice
  readonly #image: TryImage
  /** The model that is shown. At first it is a picture of the page's model, which is loaded when a visitor comes near. */
  #model: ModelInfo = EXAMPLE_MODEL
  #cards: BranchCards | undefined
  #last: { answer: Answer; order: readonly number[] } | undefined
  #asking = false
  #again = false
  /** Whether the trouble that is shown is that of a question, so that an answer ends it. */
  #failed = false
  #refused: string | undefined

  constructor(client: PageWorker, trouble: Trouble) {
    this.#client = client
    this.#trouble = trouble
    this.#image = new TryImage(
      () => this.#ask(),
      (file) => this.#guard(() => this.#open(file)),
    )
    this.#choice = new ModelChoice(client, trouble, (model) => {
      this.#use(model)
      this.#ask()
    })
    const panel = byId('try')
    for (const name of ['pointerenter', 'focusin', 'dragenter'] as const) panel.addEventListener(name, () => this.#load())
    panel.addEventListener('dragover', (event) => event.preventDefault())
    panel.addEventListener('drop', (event) => {
      event.preventDefault()
      const { items, files } = event.dataTransfer!
      const isFolder = [...items].some((item) => item.webkitGetAsEntry()?.isDirectory)
      this.#guard(async () => {
        if (isFolder || files.length !== 1)
          throw new Error('drop one image or one checkpoint here; the tab Train takes folders')
        await this.#open(files[0]!)
      })
    })
    byId('threshold').addEventListener('input', () => this.#draw())
    matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => this.#draw())
    this.#use(EXAMPLE_MODEL)
    this.#show(EXAMPLE_ANSWER, this.#cards!.chosen)
  }

  /** Shows the tab. The model of a run has learned meanwhile, or is another one. */
  show(): void {
    if (this.#choice.isRun) this.#choice.want('run')
    this.#draw()
  }

  /** Leaves the picture as it is where nothing can be computed. @param why says what is missing */
  refuse(why: string): void {
    this.#refused = why
  }

  /** Loads the model of the page while the visitor still looks. */
  #load(): void {
    if (this.#refused === undefined && !this.#choice.model) this.#choice.want('shipped')
  }

  async #open(file: File): Promise<void> {
    if (/\.safetensors$/i.test(file.name)) return this.#choice.want({ name: file.name, file })
    const model = await this.#loaded()
    // A file that the model cannot read is refused before it is shown.
    await this.#client.call('readImage', model.id, file.name, file)
    await this.#image.show(file)
    this.#ask()
  }

  /** Shows another model, with the image that is there. */
  #use(model: ModelInfo): void {
    const same = this.#model.architecture === model.architecture && this.#model.branches === model.branches
    this.#model = model
    this.#image.cut(model.grid)
    if (same && this.#cards) return
    const words = wordsOf(model)
    const change = model.architecture === 'paraformer' && model.branches > 1 ? () => this.#ask() : undefined
    this.#cards = new BranchCards(words.cards, change)
    byId('cards').replaceChildren(this.#cards.list, ...(change ? [this.#cards.hint] : []))
    byId('branches-name').textContent = words.branches
    byId('looks').textContent = words.looks
    byId('sum-name').textContent = words.sum
    byId('prefix-part').hidden = model.branches === 1
  }

  /** The model that answers. @throws Error where there is none */
  async #loaded(): Promise<ModelInfo> {
    if (this.#refused !== undefined) throw new Error(`The picture stays as it is: ${this.#refused}`)
    this.#load()
    await this.#choice.settled
    const { model } = this.#choice
    if (!model) throw new Error('there is no model; choose one')
    return model
  }

  /** Asks the model; while it answers, only the last change is remembered. */
  async #ask(): Promise<void> {
    this.#again = true
    if (this.#asking) return
    this.#asking = true
    while (this.#again) {
      this.#again = false
      try {
        await this.#askOnce()
      } catch (error) {
        this.#trouble(error)
        this.#failed = true
      }
    }
    this.#asking = false
  }

  async #askOnce(): Promise<void> {
    const model = await this.#loaded()
    const order = this.#cards!.chosen
    const { file } = this.#image
    const pixels = file ? await this.#client.call('readImage', model.id, file.name, file) : this.#image.pixels(model)
    const answer = pixels && (await this.#client.call('ask', { model: model.id, pixels, order }))
    // An answer of a model that is not shown any more is none.
    if (model !== this.#choice.model) this.#again = true
    else if (answer) {
      if (this.#failed) clearTrouble('try')
      this.#failed = false
      this.#show(answer, order)
      announce(answerSentence(model, answer), 'answer')
    } else this.#choice.replace()
  }

  #show(answer: Answer, order: readonly number[]): void {
    this.#last = { answer, order }
    this.#draw()
  }

  /** Draws the last answer, by the threshold and in the colours of now. */
  #draw(): void {
    if (!this.#last) return
    const { answer, order } = this.#last
    if (answer.attention.length !== this.#model.branches) return
    this.#cards!.draw(this.#image.canvas, answer.attention, this.#model.grid)
    showAnswer(this.#model, answer, order)
  }

  async #guard(work: () => Promise<unknown>): Promise<void> {
    clearTrouble('try')
    try {
      await work()
    } catch (error) {
      this.#trouble(error)
    }
  }
}
