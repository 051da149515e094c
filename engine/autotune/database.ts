import * as v from 'valibot'
import type { KernelSpec, Variant } from '../../kernels/spec.ts'
import { accepted, amount, count, fields, listOf, mapOf, text } from '../base/json.ts'
import { CostModel, type Work } from './costModel.ts'
import type { TuningTask } from './extractTasks.ts'
import type { Findings, MeasureResult } from './measurement.ts'
import { sizesOf } from './shapeClass.ts'
import type { DeviceStore } from './store.ts'
import { kernelKey, TunedVariants } from './tuned.ts'

/** The result of tuning a kernel for a shape class, as the store keeps it. */
export interface TuningRecord extends Findings, Pick<MeasureResult, 'fallback' | 'ms'> {
  /** The sizes that were measured. */
  sizes: number[]
  /** The fastest variant. */
  variant: string
  /** The work of the task at `sizes`. */
  work: Work
}

const FINDINGS = { dropped: mapOf(text), slow: mapOf(amount) } satisfies Record<keyof Findings, unknown>

const RECORD: v.GenericSchema<unknown, TuningRecord> = v.pipe(
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
    'a record with the times of its variants',
  ),
) as v.GenericSchema<unknown, TuningRecord>

const PREFIX = 'variant '
const UNFINISHED = 'unfinished '
/** After this many broken measurements a variant is not tried again. */
const CHANCES = 2

/** The tuning records in a device's store. */
export class TuningDatabase {
  readonly #store: DeviceStore

  constructor(store: DeviceStore) {
    this.#store = store
  }

  has({ key }: TuningTask): boolean {
    return accepted(RECORD, this.#store.get(PREFIX + key)) !== undefined
  }

  add({ key, spec, problem }: TuningTask, { fallback, variant, ms, dropped, slow }: MeasureResult): TuningRecord {
    const work = { flops: spec.flops(problem), bytes: spec.bytes(problem) }
    const record: TuningRecord = { sizes: [...sizesOf(spec, problem)], variant: variant!, fallback, ms, dropped, slow, work }
    this.#store.set(PREFIX + key, record)
    return record
  }

  /** The findings of unfinished measurements of a task. */
  findings({ key }: TuningTask): Findings {
    return accepted(fields(FINDINGS), this.#store.get(UNFINISHED + key)) ?? { dropped: {}, slow: {} }
  }

  /** Keeps the findings of an unfinished measurement, except for the reason to drop the variant that broke it. */
  addFindings({ key }: TuningTask, { dropped, slow, blamed }: MeasureResult): void {
    const others = Object.entries(dropped).filter(([name]) => name !== blamed)
    if (others.length > 0) this.#store.set(UNFINISHED + key, { dropped: Object.fromEntries(others), slow })
  }

  /** The number of measurements that a variant broke. */
  breaks(spec: KernelSpec, { name }: Variant<any>): number {
    return accepted(count, this.#store.get(breaksKey(spec, name))) ?? 0
  }

  isGivenUp(spec: KernelSpec, variant: Variant<any>): boolean {
    return this.breaks(spec, variant) >= CHANCES
  }

  /** Counts a measurement that a variant broke. A variant that lost the device gets no other chance. */
  addBreak(spec: KernelSpec, variant: string, lost: boolean): void {
    const key = breaksKey(spec, variant)
    this.#store.set(key, lost ? CHANCES : (accepted(count, this.#store.get(key)) ?? 0) + 1)
  }

  /** All records by key, also those of kernels whose sources have changed since. */
  all(): Map<string, TuningRecord> {
    const records = new Map<string, TuningRecord>()
    for (const [key, value] of this.#store.entries()) {
      const record = key.startsWith(PREFIX) ? accepted(RECORD, value) : undefined
      if (record) records.set(key.slice(PREFIX.length), record)
    }
    return records
  }

  /** Makes a cost model from all records. */
  costModel(): CostModel {
    const model = new CostModel()
    for (const [key, { ms, slow, work }] of this.all()) {
      const [kernel] = key.split(' ') as [string]
      for (const [variant, time] of Object.entries({ ...slow, ...ms })) model.add(kernel, variant, work, time)
    }
    return model
  }

  /** Returns the fastest variants by kernel and shape class, as `Device.kernels` takes them. */
  variants(): TunedVariants {
    const answers = Object.fromEntries([...this.all()].map(([key, { variant }]) => [key, variant]))
    return new TunedVariants({ device: this.#store.device, answers })
  }

  /** Saves the records, see `DeviceStore.save`. */
  save(): Promise<void> {
    return this.#store.save()
  }
}

function breaksKey(spec: KernelSpec, variant: string): string {
  return `breaks ${kernelKey(spec)}/${variant}`
}
