import type { KernelSpec, Variant } from '../../kernels/spec.ts'
import type { Findings, Verdict } from './race.ts'
import { Rates, type Work } from './rates.ts'
import { sizesOf } from './shapeClass.ts'
import type { DeviceStore } from './store.ts'
import type { Problem } from './survey.ts'
import { kernelKey, TunedVariants } from './tuned.ts'

/** What tuning found out about a kernel and a shape class, as it is kept. */
export interface Answer extends Findings {
  /** The sizes that it was measured at. */
  sizes: readonly number[]
  variant: string
  /** The spec's own choice. */
  fallback: string
  /** Least milliseconds of the variants that ran to the end. */
  ms: Record<string, number>
  /** Of the spec's cost model. */
  work: Work
}

const PREFIX = 'variant '
const UNFINISHED = 'unfinished '
/** Times that a variant may fail to end, or take the device down, before it is left alone for good. */
const CHANCES = 2

/** The answers in a device's store. */
export class Answers {
  readonly #store: DeviceStore

  constructor(store: DeviceStore) {
    this.#store = store
  }

  has({ key }: Problem): boolean {
    return isAnswer(this.#store.get(PREFIX + key))
  }

  /** Keeps the answer of a race that came to its end. */
  add({ key, spec, problem }: Problem, { fallback, variant, ms, dropped, slow }: Verdict): Answer {
    const work = { flops: spec.flops(problem), bytes: spec.bytes(problem) }
    const answer: Answer = { sizes: sizesOf(spec, problem), variant: variant!, fallback, ms, dropped, slow, work }
    this.#store.set(PREFIX + key, answer)
    return answer
  }

  /** What is known of a problem without answer. */
  findings({ key }: Problem): Findings {
    const found = this.#store.get(UNFINISHED + key)
    return isFindings(found) ? found : { dropped: {}, slow: {} }
  }

  /** Keeps what a race that did not come to its end found out. */
  addFindings({ key }: Problem, { dropped, slow, blamed }: Verdict): void {
    const others = Object.entries(dropped).filter(([name]) => name !== blamed)
    if (others.length > 0) this.#store.set(UNFINISHED + key, { dropped: Object.fromEntries(others), slow })
  }

  /** How often a variant broke off a race. */
  breaks(spec: KernelSpec, { name }: Variant<any>): number {
    return Number(this.#store.get(breaksKey(spec, name)) ?? 0)
  }

  isGivenUp(spec: KernelSpec, variant: Variant<any>): boolean {
    return this.breaks(spec, variant) >= CHANCES
  }

  /** Counts a variant that broke off a race. One by which the device was lost gets no other chance. */
  addBreak(spec: KernelSpec, variant: string, lost: boolean): void {
    const key = breaksKey(spec, variant)
    this.#store.set(key, lost ? CHANCES : Number(this.#store.get(key) ?? 0) + 1)
  }

  /** All answers, of kernels whose sources may have changed since as well, by key. */
  all(): Map<string, Answer> {
    const answers = new Map<string, Answer>()
    for (const [key, value] of this.#store.entries()) {
      if (key.startsWith(PREFIX) && isAnswer(value)) answers.set(key.slice(PREFIX.length), value)
    }
    return answers
  }

  /** The rates that variants reached. */
  rates(): Rates {
    const rates = new Rates()
    for (const [key, { ms, slow, work }] of this.all()) {
      const [kernel] = key.split(' ') as [string]
      for (const [variant, time] of Object.entries({ ...slow, ...ms })) rates.add(kernel, variant, work, time)
    }
    return rates
  }

  /** The answers as a device takes them. */
  variants(): TunedVariants {
    const answers = Object.fromEntries([...this.all()].map(([key, { variant }]) => [key, variant]))
    return new TunedVariants({ device: this.#store.device, answers })
  }

  /** See `DeviceStore.save`. */
  save(): Promise<void> {
    return this.#store.save()
  }
}

function breaksKey(spec: KernelSpec, variant: string): string {
  return `breaks ${kernelKey(spec)}/${variant}`
}

function isAnswer(value: unknown): value is Answer {
  const { sizes, variant, fallback, ms, work } = (value ?? {}) as Partial<Answer>
  return (
    Array.isArray(sizes) &&
    typeof variant === 'string' &&
    typeof fallback === 'string' &&
    areObjects(ms, work) &&
    isFindings(value)
  )
}

function isFindings(value: unknown): value is Findings {
  const { dropped, slow } = (value ?? {}) as Partial<Findings>
  return areObjects(dropped, slow)
}

function areObjects(...values: unknown[]): boolean {
  return values.every((one) => typeof one === 'object' && one !== null)
}
