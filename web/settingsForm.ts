import type { Settings } from '../train/settings.ts'
import { byId, element } from './dom.ts'
import type { OwnDataInfo } from './protocol.ts'
import { FIELDS, type Field, MNIST_SIDE, nearestPatch, patchSizes } from './settingFields.ts'

/** Images that are evaluated after an epoch. */
const EVALUATED = 500
/** Images of MNIST that come with the page. A run names their number, so that Node trains on the same ones. */
const PAGE_IMAGES = 6000

/** The form of a run's settings. The first ones are shown at once, the others are folded away. */
export class SettingsForm {
  readonly #form = byId<HTMLFormElement>('settings')
  readonly #more = byId<HTMLDetailsElement>('more-settings')
  #fixed: Partial<Settings> = {}
  #own: OwnDataInfo | undefined
  #disabled = false

  constructor() {
    for (const field of FIELDS) byId(field.first ? 'first-settings' : 'other-settings').append(labelled(field))
    this.#form.addEventListener('submit', (event) => event.preventDefault())
    this.#form.addEventListener('input', () => this.#fit())
    // A field that is wrong must be seen.
    this.#form.addEventListener('invalid', ({ target }) => this.#reveal(target), { capture: true })
    this.#fit()
  }

  /** Offers what suits the data. @param own the data of one's own; undefined for MNIST */
  suit(own: OwnDataInfo | undefined): void {
    this.#own = own
    this.#fit()
  }

  /** The settings, or undefined where the browser shows what is wrong with them. */
  read(): Partial<Settings> | undefined {
    if (!this.#form.reportValidity()) return undefined
    const own = this.#own
    const settings: Record<string, unknown> = {
      ...(own ? { dataset: own.format, dataDir: own.dir } : { dataset: 'mnist', trainImages: PAGE_IMAGES }),
      ...{ testImages: EVALUATED, warmup: 20 },
    }
    for (const { name, ...field } of FIELDS) {
      const { value } = this.#input(name)
      if (value === '') continue
      settings[name] = 'choices' in field && Number.isNaN(Number(value)) ? value : Number(value)
    }
    if (!own) delete settings.imageSize
    const dim = settings.dim as number
    Object.assign(settings, { heads: Math.max(1, dim / 16), dimHead: 16, mlpDim: 2 * dim })
    if (settings.architecture === 'vit') Object.assign(settings, { depth: settings.branches, scheme: 'joint' })
    return { ...settings, ...this.#fixed } as Partial<Settings>
  }

  /** Shows the settings of a run. */
  write(settings: Partial<Settings>): void {
    for (const { name } of FIELDS) {
      const input = this.#input(name)
      const value = name === 'branches' && settings.architecture === 'vit' ? settings.depth : settings[name]
      if (value === undefined) continue
      // A run of Node may have what the page does not offer.
      const text = String(value)
      if (input instanceof HTMLSelectElement && ![...input.options].some((option) => option.value === text))
        input.append(element('option', { value: text, textContent: text }))
      input.value = text
    }
    this.#fit()
  }

  /** Fixes the settings of a model that the next run begins with; undefined leaves all free again. */
  fix(settings: Partial<Settings> | undefined): void {
    this.#fixed = settings ?? {}
    this.write(this.#fixed)
  }

  set disabled(disabled: boolean) {
    this.#disabled = disabled
    this.#fit()
  }

  #input(name: string): HTMLInputElement | HTMLSelectElement {
    return this.#form.elements.namedItem(name) as HTMLInputElement | HTMLSelectElement
  }

  /** Turns off what has no effect, and offers patches that images of the data can be cut into. */
  #fit(): void {
    const vit = this.#input('architecture').value === 'vit'
    byId('label-branches').textContent = vit ? 'Layers' : 'Branches'
    byId('hint-branches').hidden = vit
    const idle = (name: string) =>
      (name === 'imageSize' && !this.#own) || (vit && (name === 'scheme' || name === 'branchDepth'))
    for (const { name } of FIELDS) this.#input(name).disabled = this.#disabled || this.#fixes(name) || idle(name)
    const patch = this.#input('patchSize') as HTMLSelectElement
    if (!patch.disabled) fitPatch(patch, this.#own ? Number(this.#input('imageSize').value) || this.#own.side : MNIST_SIDE)
  }

  #fixes(name: string): boolean {
    return name in this.#fixed || (name === 'branches' && this.#fixed.depth !== undefined)
  }

  #reveal(target: EventTarget | null): void {
    if (target instanceof Node && this.#more.contains(target)) this.#more.open = true
  }
}

/** Offers the sizes of patches for images of a side, and keeps the chosen one where it is among them. */
function fitPatch(patch: HTMLSelectElement, side: number | undefined): void {
  const sizes = patchSizes(side)
  const chosen = Number(patch.value)
  if ([...patch.options].map(({ value }) => value).join() !== sizes.join())
    patch.replaceChildren(...sizes.map((size) => element('option', { value: String(size), textContent: String(size) })))
  patch.value = String(sizes.includes(chosen) ? chosen : nearestPatch(sizes))
}

/** Makes a field with its label and what explains it. */
function labelled(field: Field): HTMLElement {
  const { name, label, hint } = field
  const input = 'choices' in field ? choiceOf(field) : element('input', { ...numberOf(field), name, type: 'number' })
  input.id = `setting-${name}`
  const made = element(
    'div',
    { className: 'field' },
    element('label', { id: `label-${name}`, htmlFor: input.id, textContent: label }),
    input,
  )
  if (hint !== undefined) {
    made.append(element('p', { id: `hint-${name}`, className: 'hint', textContent: hint }))
    input.setAttribute('aria-describedby', `hint-${name}`)
  }
  return made
}

function choiceOf({ name, choices, value }: Extract<Field, { choices: unknown }>): HTMLSelectElement {
  const options = choices.map(([value, label]) => element('option', { value, textContent: label }))
  const select = element('select', { name }, ...options)
  select.value = value
  return select
}

function numberOf({ min, max, step, value }: Extract<Field, { min: number }>) {
  const sizes = { min: String(min), max: String(max), step: String(step) }
  return value === undefined ? { ...sizes, placeholder: 'as they are' } : { ...sizes, value: String(value), required: true }
}
