import * as v from 'valibot'
import { runtime, texts } from '#platform'
import { refusal } from '../base/checks.ts'
import { fields, mapOf, parseJson } from '../base/json.ts'
import { normalize } from '../platform/select.ts'
import type { AdapterSummary } from '../platform/types.ts'
import { hashOf } from './hash.ts'

/** Files of another format are read as empty, and replaced. */
const FORMAT = 1
const STORE = fields({ format: v.literal(FORMAT), values: mapOf(v.unknown()) })

/** A device, its driver and the implementation of WebGPU above it, as a name for files: what was measured on one says nothing of others. */
export function deviceKey(summary: AdapterSummary): string {
  const { name, vendor, architecture, driver, subgroupMinSize, subgroupMaxSize } = summary
  return `${normalize(name)}-${hashOf(JSON.stringify([name, vendor, architecture, driver, subgroupMinSize, subgroupMaxSize, runtime]))}`
}

/**
 * Small JSON values by key that were found out on one device (which variant is fastest, which mode) and are kept between
 * runs. What cannot be read is as if it had never been found out.
 */
export class DeviceStore {
  /** Of the device, see `deviceKey`. */
  readonly device: string
  readonly #summary: AdapterSummary
  #values: Map<string, unknown>
  readonly #changed = new Map<string, unknown>()

  private constructor(summary: AdapterSummary, values: Map<string, unknown>) {
    this.device = deviceKey(summary)
    this.#summary = summary
    this.#values = values
  }

  /** What is known of a device. @throws ArgumentError for what is no summary of an adapter */
  static async open(summary: AdapterSummary): Promise<DeviceStore> {
    if (typeof summary?.name !== 'string') throw refusal('DeviceStore', summary, 'the summary of a device')
    return new DeviceStore(summary, await readValues(summary))
  }

  get(key: string): unknown {
    return this.#values.get(key)
  }

  /** All that is known, keys and values. */
  entries(): IterableIterator<[string, unknown]> {
    return this.#values.entries()
  }

  /** Sets a value of plain JSON, to be kept by `save()`. */
  set(key: string, value: unknown): void {
    if (typeof key !== 'string') throw refusal('DeviceStore', key, 'a text', 'key')
    this.#values.set(key, value)
    this.#changed.set(key, value)
  }

  /** Keeps what was set, beside what other processes kept meanwhile. @throws UserError in one line */
  async save(): Promise<void> {
    if (this.#changed.size === 0) return
    this.#values = new Map([...(await readValues(this.#summary)), ...this.#changed])
    const { name, driver } = this.#summary
    const text = JSON.stringify({ format: FORMAT, device: { name, driver }, values: Object.fromEntries(this.#values) }, null, 1)
    await texts.write(fileOf(this.#summary), text)
    this.#changed.clear()
  }
}

function fileOf(summary: AdapterSummary): string {
  return `tuning/${deviceKey(summary)}.json`
}

async function readValues(summary: AdapterSummary): Promise<Map<string, unknown>> {
  const text = await texts.read(fileOf(summary))
  if (text === undefined) return new Map()
  try {
    return new Map(Object.entries(parseJson(STORE, text, 'store').values))
  } catch {
    return new Map()
  }
}
