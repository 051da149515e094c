import type { Settings } from '../train/settings.ts'
import { byId, element } from './dom.ts'
import type { OwnDataInfo } from './protocol.ts'

type Field = { name: keyof Settings; label: string } & (
  | { choices: readonly (readonly [value: string, label: string])[] }
  | { min: number; max: number; step: number | 'any'; value: number | undefined }
)

const numbered = (...values: number[]) => values.map((value) => [String(value), String(value)] as const)

/** The settings that the page offers, with limits that any device takes. The first choice is the default. */
const FIELDS: readonly Field[] = [
  {
    name: 'architecture',
    label: 'Model',
    choices: [
      ['paraformer', 'ParaFormer'],
      ['vit', 'Vision Transformer'],
    ],
  },
  {
    name: 'scheme',
    label: 'Training scheme',
    choices: [
      ['prefixSum', 'prefixSum: all prefixes at once'],
      ['paper', 'paper: prefix after prefix'],
      ['randomPrefix', 'randomPrefix: a random prefix'],
      ['joint', 'joint: the whole model alone'],
      ['greedy', 'greedy: branch after branch'],
    ],
  },
  { name: 'branches', label: 'Branches (ViT: layers)', min: 1, max: 8, step: 1, value: 4 },
  { name: 'branchDepth', label: 'Layers of a branch', min: 1, max: 4, step: 1, value: 1 },
  { name: 'dim', label: 'Width', choices: [...numbered(64), ...numbered(16, 32, 128)] },
  { name: 'patchSize', label: 'Pixels of a patch', choices: numbered(7, 4, 8, 14, 16) },
  { name: 'imageSize', label: 'Pixels of a side (own data)', min: 4, max: 256, step: 1, value: undefined },
  { name: 'epochs', label: 'Epochs', min: 1, max: 200, step: 1, value: 3 },
  { name: 'batchSize', label: 'Images of a mini-batch', min: 1, max: 512, step: 1, value: 64 },
  { name: 'lr', label: 'Learning rate', min: 1e-6, max: 1, step: 'any', value: 3e-3 },
  { name: 'seed', label: 'Seed', min: 0, max: 1e9, step: 1, value: 0 },
]

/** Images that are evaluated after an epoch. */
const EVALUATED = 500
/** Images of MNIST that come with the page. A run names their number, so that Node trains on the same ones. */
const PAGE_IMAGES = 6000

/** The form of a run's settings. */
export class SettingsForm {
  readonly #form = byId<HTMLFormElement>('settings')
  #fixed: Partial<Settings> = {}

  constructor() {
    this.#form.append(
      ...FIELDS.map((field) => {
        const name = field.name
        const input =
          'choices' in field
            ? element(
                'select',
                { name },
                ...field.choices.map(([value, label]) => element('option', { value, textContent: label })),
              )
            : element('input', { ...numberOf(field), name, type: 'number' })
        return element('label', {}, field.label, input)
      }),
    )
    this.#form.addEventListener('submit', (event) => event.preventDefault())
  }

  /**
   * The settings, or undefined where the browser shows what is wrong with them.
   * @param own the data of one's own, if it is to be trained on
   */
  read(own?: OwnDataInfo): Partial<Settings> | undefined {
    if (!this.#form.reportValidity()) return undefined
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
  }

  /** Fixes the settings of a model that the next run begins with; undefined leaves all free again. */
  fix(settings: Partial<Settings> | undefined): void {
    this.#fixed = settings ?? {}
    this.write(this.#fixed)
    this.disabled = false
  }

  #input(name: string): HTMLInputElement | HTMLSelectElement {
    return this.#form.elements.namedItem(name) as HTMLInputElement | HTMLSelectElement
  }

  set disabled(disabled: boolean) {
    for (const { name } of FIELDS) this.#input(name).disabled = disabled || this.#fixes(name)
  }

  #fixes(name: string): boolean {
    return name in this.#fixed || (name === 'branches' && this.#fixed.depth !== undefined)
  }
}

function numberOf(field: Extract<Field, { min: number }>) {
  const { min, max, step, value } = field
  const sizes = { min: String(min), max: String(max), step: String(step) }
  return value === undefined ? { ...sizes, placeholder: 'as they are' } : { ...sizes, value: String(value), required: true }
}
