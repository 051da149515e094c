import type { KV } from '@nats-io/kv'
import { parseJson } from '../../engine/base/json.ts'
import { UserError } from '../../engine/index.ts'
import { FORMAT } from '../run/format.ts'
import { MAX_MESSAGE, WORKER_ENTRY, type WorkerEntry } from './messages.ts'

/** The entry of a worker, which is written again and again while the worker lives. */
export class Presence {
  readonly #bucket: KV
  #entry: WorkerEntry
  readonly #timer: ReturnType<typeof setInterval>

  /**
   * Shows a worker, from now on.
   * @param every milliseconds between two signs of life
   * @param isGone whether a worker of this host is known to be gone
   * @throws UserError when another worker of that name is there
   */
  static async begin(
    bucket: KV,
    entry: Omit<WorkerEntry, 'format'>,
    every: number,
    isGone: (other: WorkerEntry) => boolean,
  ): Promise<Presence> {
    const before = await bucket.get(entry.name)
    const other = before && before.operation === 'PUT' ? parseWorker(before.string()) : undefined
    if (other && !(other.host === entry.host && isGone(other)))
      throw new UserError(
        `worker ${entry.name} is there already (process ${other.pid} of ${other.host}); choose another --name, or wait half a minute if it is gone`,
      )
    const presence = new Presence(bucket, { format: FORMAT, ...entry }, every)
    await presence.#write()
    return presence
  }

  private constructor(bucket: KV, entry: WorkerEntry, every: number) {
    this.#bucket = bucket
    this.#entry = entry
    this.#timer = setInterval(() => void this.#write().catch(() => {}), every)
  }

  get entry(): WorkerEntry {
    return this.#entry
  }

  /** Changes the entry, which is written at its time. */
  set(change: Partial<WorkerEntry>): void {
    this.#entry = { ...this.#entry, ...change }
  }

  /** Changes the entry, and writes it at once. */
  async show(change: Partial<WorkerEntry>): Promise<void> {
    this.set(change)
    await this.#write().catch(() => {})
  }

  /** Takes the entry away. */
  async end(): Promise<void> {
    clearInterval(this.#timer)
    await this.#bucket.delete(this.#entry.name).catch(() => {})
  }

  async #write(): Promise<void> {
    await this.#bucket.put(this.#entry.name, JSON.stringify(this.#entry))
  }
}

/** Reads the entry of a worker. @throws UserError for one that is malformed */
export function parseWorker(json: string): WorkerEntry {
  return parseJson(WORKER_ENTRY, json.length > MAX_MESSAGE ? '' : json, 'the entry of a worker')
}

/** Returns the entries of all workers; what is malformed is left out. */
export async function presentWorkers(bucket: KV): Promise<WorkerEntry[]> {
  const found: WorkerEntry[] = []
  for await (const key of await bucket.keys()) {
    const entry = await bucket.get(key)
    if (entry?.operation !== 'PUT') continue
    try {
      found.push(parseWorker(entry.string()))
    } catch {}
  }
  return found.sort((a, b) => (a.name < b.name ? -1 : 1))
}
