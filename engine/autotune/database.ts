import * as v from 'valibot'
import type { KernelSpec, Variant } from '../../kernels/spec.ts'
import { accepted, amount, count, fields, listOf, mapOf, text } from '../base/json.ts'
import { CostModel, type Work } from './costModel.ts'
import type { TuningTask } from './extractTasks.ts'
import type { Findings, MeasureResult } from './measurement.ts'
import { sizesOf } from './shapeClass.ts'
import type { DeviceStore } from './store.ts'
import { kernelKey, TunedVariants } from './tuned.ts'

/** What tuning found out about a kernel and a shape class, as it is kept. */
export interface TuningRecord extends Findings {
  /** The sizes that it was measured at. */
  sizes: number[]
  variant: string
  /** The spec's own choice. */
  fallback: string
  /** Least milliseconds of the variants that ran to the end. */
  ms: Record<string, number>
  /** Of the spec's cost model. */
  work: Work
}

const FINDINGS = { dropped: mapOf(text), slow: mapOf(amount) } satisfies Record<keyof Findings, unknown>

const ANSWER: v.GenericSchema<unknown, TuningRecord> = v.pipe(
  fields({
    ...FINDINGS,
    sizes: listOf(amount),
    variant: text,
    fallback: text,
    ms: mapOf(amount),
    work: fields({ flops: amount, bytes: amount }),
  }),
  v.check(
    ({ variant, fallback, ms }) => Object.hasOwn(ms, variant) && Object.hasOwn(ms, fallback),
    'an answer with the times of its variants',
  ),
) as v.GenericSchema<unknown, TuningRecord>

const PREFIX = 'variant '
const UNFINISHED = 'unfinished '
/** Times that a variant may fail to end, or take the device down, before it is left alone for good. */
const CHANCES = 2

/** The answers in a device's store. */
export class TuningDatabase {
  readonly #store: DeviceStore

  constructor(store: DeviceStore) {
    this.#store = store
  }

  has({ key }: TuningTask): boolean {
    return accepted(ANSWER, this.#store.get(PREFIX + key)) !== undefined
  }

  /** Keeps the answer of a race that came to its end. */
  add({ key, spec, problem }: TuningTask, { fallback, variant, ms, dropped, slow }: MeasureResult): TuningRecord {
    const work = { flops: spec.flops(problem), bytes: spec.bytes(problem) }
    const answer: TuningRecord = { sizes: [...sizesOf(spec, problem)], variant: variant!, fallback, ms, dropped, slow, work }
    this.#store.set(PREFIX + key, answer)
    return answer
  }

  /** What is known of a problem without answer. */
  findings({ key }: TuningTask): Findings {
    return accepted(fields(FINDINGS), this.#store.get(UNFINISHED + key)) ?? { dropped: {}, slow: {} }
  }

  /** Keeps what a race that did not come to its end found out. */
  addFindings({ key }: TuningTask, { dropped, slow, blamed }: MeasureResult): void {
    const others = Object.entries(dropped).filter(([name]) => name !== blamed)
    if (others.length > 0) this.#store.set(UNFINISHED + key, { dropped: Object.fromEntries(others), slow })
  }

  /** How often a variant broke off a race. */
  breaks(spec: KernelSpec, { name }: Variant<any>): number {
    return accepted(count, this.#store.get(breaksKey(spec, name))) ?? 0
  }

  isGivenUp(spec: KernelSpec, variant: Variant<any>): boolean {
    return this.breaks(spec, variant) >= CHANCES
  }

  /** Counts a variant that broke off a race. One by which the device was lost gets no other chance. */
  addBreak(spec: KernelSpec, variant: string, lost: boolean): void {
    const key = breaksKey(spec, variant)
    this.#store.set(key, lost ? CHANCES : (accepted(count, this.#store.get(key)) ?? 0) + 1)
  }

  /** All answers, of kernels whose sources may have changed since as well, by key. */
  all(): Map<string, TuningRecord> {
    const answers = new Map<string, TuningRecord>()
    for (const [key, value] of this.#store.entries()) {
      const answer = key.startsWith(PREFIX) ? accepted(ANSWER, value) : undefined
      if (answer) answers.set(key.slice(PREFIX.length), answer)
    }
    return answers
  }

  /** The rates that variants reached. */
  rates(): CostModel {
    const rates = new CostModel()
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
