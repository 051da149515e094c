import { refusal } from '../base/checks.ts'
import { UserError } from '../base/errors.ts'
import type { BufferUse } from '../memory/bindings.ts'
import type { Launch } from './stream.ts'

/** Timestamps of one query set: two a dispatch. */
const QUERIES = 4096

/** How often the device's clock is read to compare it. */
const READINGS = 8

/** One dispatch as the device timed it, nanoseconds on the device's clock. */
export interface ProfiledDispatch {
  op: string
  kernel: string
  /** The streams that it works for: several where branches were coalesced. */
  streams: readonly string[]
  /** Why it waits for those before it, as far as they were profiled too. */
  barriers: readonly string[]
  begin: number
  end: number
}

/**
 * Tells of commands in their order why the driver makes each wait for those before it, such as `read after write of layerNorm`. As in
 * Dawn's Vulkan backend, which remembers for each buffer how it was used last: any two uses but two reads put a barrier between
 * them, and a barrier waits for everything.
 */
export class Barriers {
  readonly #last = new Map<GPUBuffer, { write: boolean; op: string }>()

  /** @returns the reasons of the next command, none where it need not wait */
  next(op: string, uses: readonly BufferUse[]): string[] {
    const reasons = new Set<string>()
    const own = new Map<GPUBuffer, boolean>()
    for (const { buffer, write } of uses) own.set(buffer, write || (own.get(buffer) ?? false))
    for (const [buffer, write] of own) {
      const before = this.#last.get(buffer)
      if (before && (before.write || write)) {
        reasons.add(`${write ? 'write' : 'read'} after ${before.write ? 'write' : 'read'} of ${before.op}`)
      }
      this.#last.set(buffer, { write, op })
    }
    return [...reasons]
  }
}

type Label = Omit<ProfiledDispatch, 'begin' | 'end'>

/** A query set, and what it times of the batch being encoded. */
interface Timestamps {
  queries: GPUQuerySet
  labels: Label[]
}

/**
 * Times every dispatch on the device with timestamp queries. While one is set as `device.profiler` each dispatch gets a
 * compute pass of its own, which costs time: profile to compare kernels, not to time a step.
 */
export class Profiler {
  readonly #device: GPUDevice
  readonly #sets: Timestamps[] = []
  /** Of the set in use. */
  #at = 0
  readonly #resolved: GPUBuffer
  readonly #barriers = new Barriers()
  #staging: { buffer: GPUBuffer; labels: Label[] }[] = []

  /**
   * @param name of the device, for the message
   * @throws UserError when the device has no timestamp queries; ArgumentError for what is no GPUDevice
   */
  constructor(device: GPUDevice, name = 'this device') {
    if (typeof device?.features?.has !== 'function') throw refusal('Profiler', device, 'a GPUDevice, such as device.gpu')
    if (!device.features.has('timestamp-query')) {
      throw new UserError(`${name} has no timestamp queries, so dispatches cannot be timed; choose another adapter`)
    }
    this.#device = device
    this.#resolved = device.createBuffer({
      size: QUERIES * 8,
      usage: GPUBufferUsage.QUERY_RESOLVE | GPUBufferUsage.COPY_SRC,
    })
  }

  /** The descriptor of the compute pass of one dispatch. */
  pass({ op, kernel, streams, uses }: Launch): GPUComputePassDescriptor {
    if (2 * this.#set().labels.length === QUERIES) this.#at++
    const { queries, labels } = this.#set()
    const index = 2 * labels.length
    labels.push({ op, kernel: kernel.label, streams, barriers: this.#barriers.next(op, uses) })
    return {
      timestampWrites: { querySet: queries, beginningOfPassWriteIndex: index, endOfPassWriteIndex: index + 1 },
    }
  }

  /** What else uses buffers, untimed: later dispatches may wait for it. */
  note(op: string, uses: readonly BufferUse[]): void {
    this.#barriers.next(op, uses)
  }

  /** Ends the timed passes of an encoder. */
  resolve(encoder: GPUCommandEncoder): void {
    for (const set of this.#sets) {
      const count = 2 * set.labels.length
      if (count === 0) continue
      const buffer = this.#device.createBuffer({ size: count * 8, usage: GPUBufferUsage.MAP_READ | GPUBufferUsage.COPY_DST })
      encoder.resolveQuerySet(set.queries, 0, count, this.#resolved, 0)
      encoder.copyBufferToBuffer(this.#resolved, 0, buffer, 0, count * 8)
      this.#staging.push({ buffer, labels: set.labels })
      set.labels = []
    }
    this.#at = 0
  }

  /** Waits for what was submitted and returns its dispatches in order, once. */
  async collect(): Promise<ProfiledDispatch[]> {
    const staging = this.#staging
    this.#staging = []
    const dispatches: ProfiledDispatch[] = []
    for (const { buffer, labels } of staging) {
      await buffer.mapAsync(GPUMapMode.READ)
      const times = new BigUint64Array(buffer.getMappedRange().slice(0))
      buffer.destroy()
      labels.forEach((label, i) => {
        dispatches.push({ ...label, begin: Number(times[2 * i]), end: Number(times[2 * i + 1]) })
      })
    }
    return dispatches
  }

  /**
   * How far the host's clock (Unix time) is ahead of the device's, in milliseconds, the device being idle: late by what a read takes, of
   * several reads the least.
   */
  async offset(): Promise<number> {
    const usage = GPUBufferUsage.MAP_READ | GPUBufferUsage.COPY_DST
    const buffer = this.#device.createBuffer({ size: 8, usage })
    const { queries } = this.#set()
    let least = Number.POSITIVE_INFINITY
    for (let i = 0; i < READINGS; i++) {
      const encoder = this.#device.createCommandEncoder()
      encoder.beginComputePass({ timestampWrites: { querySet: queries, endOfPassWriteIndex: 0 } }).end()
      encoder.resolveQuerySet(queries, 0, 1, this.#resolved, 0)
      encoder.copyBufferToBuffer(this.#resolved, 0, buffer, 0, 8)
      this.#device.queue.submit([encoder.finish()])
      await buffer.mapAsync(GPUMapMode.READ)
      const host = performance.timeOrigin + performance.now()
      const [stamp] = new BigUint64Array(buffer.getMappedRange())
      least = Math.min(least, host - Number(stamp) / 1e6)
      buffer.unmap()
    }
    buffer.destroy()
    return least
  }

  /** Frees its query sets; what was not collected is lost. */
  dispose(): void {
    for (const { queries } of this.#sets) queries.destroy()
    this.#resolved.destroy()
  }

  #set(): Timestamps {
    const queries = () => this.#device.createQuerySet({ type: 'timestamp', count: QUERIES })
    this.#sets[this.#at] ??= { queries: queries(), labels: [] }
    return this.#sets[this.#at]!
  }
}
