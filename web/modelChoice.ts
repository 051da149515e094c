import { byId, element } from './dom.ts'
import { EXAMPLE_MODEL } from './exampleAnswer.ts'
import { modelSentence } from './modelWords.ts'
import type { ModelInfo, ModelSource, PageWorker } from './protocol.ts'
import { clearTrouble, type Trouble } from './trouble.ts'

/** The choice of the model that answers. What it shows is what answers: a model that cannot be taken leaves the one before it. */
export class ModelChoice {
  readonly #client: PageWorker
  readonly #trouble: Trouble
  readonly #onModel: (model: ModelInfo) => void
  readonly #select = byId<HTMLSelectElement>('source')
  #model: ModelInfo | undefined
  #source: ModelSource = 'shipped'
  /** The checkpoint that was opened last. */
  #file: Exclude<ModelSource, string> | undefined
  #wanted: ModelSource | undefined
  #taking: Promise<void> | undefined

  /** @param onModel is called with a model that answers from now on */
  constructor(client: PageWorker, trouble: Trouble, onModel: (model: ModelInfo) => void) {
    this.#client = client
    this.#trouble = trouble
    this.#onModel = onModel
    this.#select.addEventListener('change', () => {
      clearTrouble('try')
      const { value } = this.#select
      this.want(value === 'file' ? this.#file! : (value as 'run' | 'shipped'))
    })
    const open = byId<HTMLInputElement>('open-model')
    open.addEventListener('change', () => {
      const [file] = open.files ?? []
      open.value = ''
      clearTrouble('try')
      if (file) this.want({ name: file.name, file })
    })
    this.#say()
  }

  /** The model that answers; undefined before one is loaded. */
  get model(): ModelInfo | undefined {
    return this.#model
  }

  /** Whether the model of the run answers. */
  get isRun(): boolean {
    return this.#source === 'run' && this.#model !== undefined
  }

  /** Settles when the model that was wanted last is there, or is not. */
  get settled(): Promise<void> {
    return this.#taking ?? Promise.resolve()
  }

  /** Takes a model; of several that are wanted meanwhile, the last one. */
  want(source: ModelSource): void {
    this.#wanted = source
    this.#taking ??= this.#takeWanted()
  }

  /** Takes the model anew that is not there any more, such as that of a run that was reset; else that of the page. */
  replace(): void {
    if (!this.#taking) this.want(this.#source)
  }

  async #takeWanted(): Promise<void> {
    while (this.#wanted !== undefined) {
      const source = this.#wanted
      this.#wanted = undefined
      byId('model-name').textContent = 'Loading the model…'
      try {
        this.#took(source, await this.#client.call('model', source))
      } catch (error) {
        this.#trouble(error)
        // The run is gone, whose model answered.
        if (source === 'run' && this.#source === 'run') this.#wanted ??= 'shipped'
      }
    }
    this.#taking = undefined
    this.#say()
  }

  #took(source: ModelSource, model: ModelInfo): void {
    this.#source = source
    if (typeof source === 'object') this.#offer(source)
    const same = this.#model?.id === model.id
    this.#model = same ? this.#model : model
    if (this.#wanted === undefined) this.#onModel(this.#model!)
  }

  /** Offers a checkpoint that was opened, so that there is a way back to it. */
  #offer(file: Exclude<ModelSource, string>): void {
    this.#file = file
    const [known] = [...this.#select.options].filter(({ value }) => value === 'file')
    const option = known ?? element('option', { value: 'file' })
    option.textContent = file.name
    if (!known) this.#select.append(option)
  }

  #say(): void {
    this.#select.value = typeof this.#source === 'object' ? 'file' : this.#source
    byId('model-name').textContent = modelSentence(this.#model ?? EXAMPLE_MODEL)
  }
}
