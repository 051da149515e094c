import * as v from 'valibot'
import { runtime, texts } from '#platform'
import { refusal } from '../base/checks.ts'
import { fields, mapOf, parseJson } from '../base/json.ts'
import { normalize } from '../platform/select.ts'
import type { AdapterSummary } from '../platform/types.ts'
import { hashOf } from './hash.ts'

/** The version of the file format. Files of another version count as empty and are replaced. */
const FORMAT = 1
const STORE = fields({ format: v.literal(FORMAT), values: mapOf(v.unknown()) })

/** A file name for a device with its driver and its implementation of WebGPU. Measurements on one say nothing about another. */
export function deviceKey(summary: AdapterSummary): string {
  const { name, vendor, architecture, driver, subgroupMinSize, subgroupMaxSize } = summary
  return `${normalize(name)}-${hashOf(JSON.stringify([name, vendor, architecture, driver, subgroupMinSize, subgroupMaxSize, runtime]))}`
}

/** Small JSON values by key that were measured on one device, such as fastest variants. Runs share them; unreadable files count as empty. */
export class DeviceStore {
  /** The device, see `deviceKey`. */
  readonly device: string
  readonly #summary: AdapterSummary
  #values: Map<string, unknown>
  readonly #changed = new Map<string, unknown>()

  private constructor(summary: AdapterSummary, values: Map<string, unknown>) {
    this.device = deviceKey(summary)
    this.#summary = summary
    this.#values = values
  }

  /** Opens the store of a device. @throws ArgumentError when `summary` is no summary of an adapter */
  static async open(summary: AdapterSummary): Promise<DeviceStore> {
    if (typeof summary?.name !== 'string') throw refusal('DeviceStore', summary, 'the summary of a device')
    return new DeviceStore(summary, await readValues(summary))
  }

  get(key: string): unknown {
    return this.#values.get(key)
  }

  /** Lists all keys with their values. */
  entries(): IterableIterator<[string, unknown]> {
    return this.#values.entries()
  }

  /** Sets a value of plain JSON, which `save()` keeps. @throws ArgumentError when `key` is no text */
  set(key: string, value: unknown): void {
    if (typeof key !== 'string') throw refusal('DeviceStore', key, 'a text', 'key')
    this.#values.set(key, value)
    this.#changed.set(key, value)
  }

  /** Saves the values that were set, beside those that other processes saved meanwhile. @throws UserError when the file cannot be written */
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
