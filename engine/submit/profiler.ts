import { refusal } from '../base/checks.ts'
import { UserError } from '../base/errors.ts'
import type { BufferUse } from '../memory/bindings.ts'
import type { Launch } from './stream.ts'

/** The number of timestamps in a query set; a dispatch takes two. */
const QUERIES = 4096

/** The number of times that `offset` reads the device's clock. */
const READINGS = 8

/** One dispatch with its times, in nanoseconds on the device's clock. */
export interface ProfiledDispatch {
  op: string
  kernel: string
  /** Names of the streams that the dispatch belongs to; several where branches were fused. */
  streams: readonly string[]
  /** The reasons why the dispatch waits for earlier commands. */
  barriers: readonly string[]
  begin: number
  end: number
}

/**
 * Predicts where the driver puts barriers between commands, and says why, such as `read after write of layerNorm`. It follows Dawn's Vulkan
 * backend, which tracks the last use of each buffer: any two uses but two reads need a barrier, and a barrier waits for all commands
 * before it.
 */
export class Barriers {
  readonly #last = new Map<GPUBuffer, { write: boolean; op: string }>()

  /** Takes the next command. @returns the reasons why the command waits; none when it does not wait */
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

/** A query set, with labels for the dispatches that it times in the batch being encoded. */
interface Timestamps {
  queries: GPUQuerySet
  labels: Label[]
}

/**
 * Times every dispatch with timestamp queries while it is set as `device.profiler`. Each dispatch then has a compute pass of its own, which
 * costs time: a profile compares kernels, and does not tell the time of a step.
 */
export class Profiler {
  readonly #device: GPUDevice
  readonly #sets: Timestamps[] = []
  /** Index of the query set in use. */
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

  /** Returns the descriptor of the compute pass of one dispatch. @internal */
  pass({ op, kernel, streams, uses }: Launch): GPUComputePassDescriptor {
    if (2 * this.#set().labels.length === QUERIES) this.#at++
    const { queries, labels } = this.#set()
    const index = 2 * labels.length
    labels.push({ op, kernel: kernel.label, streams, barriers: this.#barriers.next(op, uses) })
    return {
      timestampWrites: { querySet: queries, beginningOfPassWriteIndex: index, endOfPassWriteIndex: index + 1 },
    }
  }

  /** Takes an untimed command, which later dispatches may wait for. @internal */
  note(op: string, uses: readonly BufferUse[]): void {
    this.#barriers.next(op, uses)
  }

  /** Encodes the copy of all timestamps of an encoder's passes to the host. */
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

  /** Waits for the submitted work. @returns its dispatches in order, without those that an earlier call returned */
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
   * Measures how far the host's clock (Unix time) is ahead of the device's, in milliseconds, on an idle device. A reading is late by the time
   * it takes, so the least of several is returned.
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

  /** Frees the query sets; dispatches not yet collected are lost. */
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
