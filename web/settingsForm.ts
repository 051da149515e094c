import type { Settings } from '../train/settings.ts'
import { byId, element } from './dom.ts'

type Field = { name: keyof Settings; label: string } & (
  | { choices: readonly (readonly [value: string, label: string])[] }
  | { min: number; max: number; step: number | 'any'; value: number }
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
  { name: 'patchSize', label: 'Pixels of a patch', choices: numbered(7, 4, 14) },
  { name: 'epochs', label: 'Epochs', min: 1, max: 200, step: 1, value: 3 },
  { name: 'batchSize', label: 'Images of a mini-batch', min: 1, max: 512, step: 1, value: 64 },
  { name: 'lr', label: 'Learning rate', min: 1e-6, max: 1, step: 'any', value: 3e-3 },
  { name: 'seed', label: 'Seed', min: 0, max: 1e9, step: 1, value: 0 },
]

/** Images that are evaluated after an epoch. */
const EVALUATED = 500

/** The form of a run's settings. */
export class SettingsForm {
  readonly #form = byId<HTMLFormElement>('settings')

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
            : element('input', { ...numberOf(field), name, type: 'number', required: true })
        return element('label', {}, field.label, input)
      }),
    )
    this.#form.addEventListener('submit', (event) => event.preventDefault())
  }

  /** The settings, or undefined where the browser shows what is wrong with them. */
  read(): Partial<Settings> | undefined {
    if (!this.#form.reportValidity()) return undefined
    const values = new FormData(this.#form)
    const settings: Record<string, unknown> = { dataset: 'mnist', testImages: EVALUATED, warmup: 20 }
    for (const { name, ...field } of FIELDS) {
      const value = String(values.get(name))
      settings[name] = 'choices' in field && Number.isNaN(Number(value)) ? value : Number(value)
    }
    const dim = settings.dim as number
    Object.assign(settings, { heads: Math.max(1, dim / 16), dimHead: 16, mlpDim: 2 * dim })
    if (settings.architecture === 'vit') Object.assign(settings, { depth: settings.branches, scheme: 'joint' })
    return settings as Partial<Settings>
  }

  /** Shows the settings of a run. */
  write(settings: Settings): void {
    for (const { name } of FIELDS) {
      const input = this.#form.elements.namedItem(name) as HTMLInputElement | HTMLSelectElement
      const value = name === 'branches' && settings.architecture === 'vit' ? settings.depth : settings[name]
      if (value !== undefined) input.value = String(value)
    }
  }

  set disabled(disabled: boolean) {
    for (const input of this.#form.elements) (input as HTMLInputElement).disabled = disabled
  }
}

function numberOf(field: Extract<Field, { min: number }>) {
  const { min, max, step, value } = field
  return { min: String(min), max: String(max), step: String(step), value: String(value) }
}
