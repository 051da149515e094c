import { byId } from './dom.ts'
import { chosenFiles, droppedFiles } from './dropped.ts'
import type { GivenFile, OwnDataInfo } from './protocol.ts'
import { troubleOf } from './trouble.ts'
import { counted } from './words.ts'

const KINDS = { images: '', idx: ', IDX', 'cifar-like': ', records like those of CIFAR' }

/** The choice of data in the tab Train, and the ways by which files get there: a drop, a folder, single files. */
export class OwnFiles {
  readonly #select = byId<HTMLSelectElement>('dataset')
  readonly #inputs = ['open-folder', 'open-files'].map((id) => byId<HTMLInputElement>(id))
  readonly #onChoice: (own: OwnDataInfo | undefined) => void
  #info: OwnDataInfo | undefined

  /**
   * @param onFiles takes files that a visitor gives
   * @param onChoice is called when other data is chosen, with the data of one's own; undefined for MNIST
   */
  constructor(onFiles: (files: GivenFile[]) => void, onChoice: (own: OwnDataInfo | undefined) => void) {
    this.#onChoice = onChoice
    this.#select.addEventListener('change', () => onChoice(this.chosen))
    for (const input of this.#inputs)
      input.addEventListener('change', () => {
        const files = chosenFiles(input)
        input.value = ''
        if (files.length > 0) onFiles(files)
      })
    const panel = byId('train')
    panel.addEventListener('dragover', (event) => {
      event.preventDefault()
      panel.classList.add('over')
    })
    panel.addEventListener('dragleave', () => panel.classList.remove('over'))
    panel.addEventListener('drop', (event) => {
      event.preventDefault()
      panel.classList.remove('over')
      if (event.dataTransfer) droppedFiles(event.dataTransfer).then(onFiles, troubleOf('train'))
    })
  }

  /** The data of one's own, if it is chosen. */
  get chosen(): OwnDataInfo | undefined {
    return this.#select.value === 'own' ? this.#info : undefined
  }

  /** Offers data of one's own, and chooses it. */
  offer(info: OwnDataInfo, choose: boolean): void {
    const option = byId<HTMLOptionElement>('own-data')
    const { dir, format, files } = info
    option.textContent = `${dir}: ${counted(files, format === 'images' ? 'image' : 'file')}${KINDS[format]}`
    option.hidden = option.disabled = false
    this.#info = info
    if (choose) this.#select.value = 'own'
    this.#onChoice(this.chosen)
  }

  /** Shows the data of a run. */
  show(own: boolean): void {
    this.#select.value = own ? 'own' : 'mnist'
    this.#onChoice(this.chosen)
  }

  /** Whether other data can be chosen, and files given. */
  turn(choice: boolean, files: boolean): void {
    this.#select.disabled = !choice
    for (const input of this.#inputs) input.disabled = !files
  }
}
