import type { DeclaredRun, Machine, RunSite } from '../../train/fleet/machine.ts'
import type { RunMessage } from '../../train/fleet/messages.ts'
import type { JobHooks, Outcome } from '../../train/study/run/processes.ts'

/** Milliseconds between two reports of a run. */
const REPORT = 1000

export interface NullMachineOptions {
  /** Returns the milliseconds that a run takes. */
  duration(key: string): number
  /** Bytes of a model. */
  bytes: number
  /** Milliseconds between two checkpoints; default none is stored. */
  saveEvery?: number | undefined
  /** Is called when a worker begins a run, and when it has done it. */
  onBegun?(key: string): void
  onDone?(key: string): void
}

/** A machine whose runs train nothing: they end after their time, with files whose content follows from the key. */
export class NullMachine implements Machine {
  readonly device = 'null'
  readonly host = 'nowhere'
  readonly sources = 'none'
  readonly #options: NullMachineOptions

  constructor(options: NullMachineOptions) {
    this.#options = options
  }

  isGone(): boolean {
    return true
  }

  async declare({ key }: RunMessage): Promise<DeclaredRun> {
    this.#options.onBegun?.(key)
    return { check: async () => ({ check: undefined }), site: () => new NullSite(key, this.#options) }
  }
}

/** Returns the bytes of a run's model: the digits of its key, again and again. */
export function modelOf(key: string, bytes: number): Uint8Array<ArrayBuffer> {
  return Uint8Array.from({ length: bytes }, (_, i) => key.charCodeAt(i % key.length))
}

class NullSite implements RunSite {
  readonly #key: string
  readonly #options: NullMachineOptions
  readonly #files = new Map<string, Uint8Array<ArrayBuffer>>()

  constructor(key: string, options: NullMachineOptions) {
    this.#key = key
    this.#options = options
  }

  async clear(): Promise<void> {
    this.#files.clear()
  }

  async names(): Promise<string[]> {
    return [...this.#files.keys()]
  }

  async read(name: string): Promise<{ size: number; data: ReadableStream<Uint8Array> } | undefined> {
    const bytes = this.#files.get(name)
    return bytes && { size: bytes.length, data: new Blob([bytes]).stream() }
  }

  async write(name: string, data: ReadableStream<Uint8Array>): Promise<number> {
    const bytes = new Uint8Array(await new Response(data as ReadableStream<Uint8Array<ArrayBuffer>>).arrayBuffer())
    this.#files.set(name, bytes)
    return bytes.length
  }

  async train({ signal, onProgress, onSaved }: JobHooks): Promise<Outcome> {
    const { duration, bytes, saveEvery = Number.POSITIVE_INFINITY, onDone } = this.#options
    const model = modelOf(this.#key, bytes)
    const began = performance.now()
    const reached = this.#files.get('checkpoint.safetensors')?.[0] ?? 0
    let saved = 0
    for (let step = reached + 1; ; step++) {
      const left = duration(this.#key) - (performance.now() - began)
      if (left <= 0) break
      await sleep(Math.min(left, saveEvery, REPORT), signal)
      if (signal.aborted) return { how: 'stopped' }
      onProgress?.(step, `mini-batch ${step}`)
      const passed = performance.now() - began
      if (Math.floor(passed / saveEvery) === saved) continue
      saved = Math.floor(passed / saveEvery)
      this.#files.set('checkpoint.safetensors', new Uint8Array(bytes).fill(step))
      onSaved?.(step)
    }
    this.#files.set('model.safetensors', model)
    this.#files.set('run.json', new TextEncoder().encode(`{"key":"${this.#key}"}\n`))
    onDone?.(this.#key)
    return { how: 'done' }
  }
}

async function sleep(milliseconds: number, signal: AbortSignal): Promise<void> {
  await new Promise<void>((resolve) => {
    const end = () => {
      clearTimeout(timer)
      signal.removeEventListener('abort', end)
      resolve()
    }
    const timer = setTimeout(end, milliseconds)
    signal.addEventListener('abort', end)
  })
}
