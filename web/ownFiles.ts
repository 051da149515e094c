import { byId } from './dom.ts'
import { chosenFiles, droppedFiles } from './dropped.ts'
import type { GivenFile, OwnDataInfo } from './protocol.ts'
import { showTrouble } from './trouble.ts'

const KINDS = { images: 'images', idx: 'IDX files', 'cifar-like': 'records like those of CIFAR' }

/** The choice of data in the tab Train, and the ways by which files get there: a drop, a folder, single files. */
export class OwnFiles {
  readonly #select = byId<HTMLSelectElement>('dataset')
  #info: OwnDataInfo | undefined

  /** @param onFiles takes files that a visitor gives */
  constructor(onFiles: (files: GivenFile[]) => void) {
    for (const id of ['open-folder', 'open-files']) {
      const input = byId<HTMLInputElement>(id)
      input.addEventListener('change', () => {
        const files = chosenFiles(input)
        input.value = ''
        if (files.length > 0) onFiles(files)
      })
    }
    const panel = byId('train')
    panel.addEventListener('dragover', (event) => {
      event.preventDefault()
      panel.classList.add('over')
    })
    panel.addEventListener('dragleave', () => panel.classList.remove('over'))
    panel.addEventListener('drop', (event) => {
      event.preventDefault()
      panel.classList.remove('over')
      if (event.dataTransfer) droppedFiles(event.dataTransfer).then(onFiles, showTrouble)
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
    option.textContent = `${dir}: ${files.toLocaleString('en')} ${format === 'images' ? '' : 'files, '}${KINDS[format]}`
    option.hidden = option.disabled = false
    this.#info = info
    if (choose) this.#select.value = 'own'
  }

  /** Shows the data of a run. */
  show(own: boolean): void {
    this.#select.value = own ? 'own' : 'mnist'
  }

  set disabled(disabled: boolean) {
    this.#select.disabled = disabled
  }
}
