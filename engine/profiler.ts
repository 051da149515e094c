import { UserError } from './errors.ts'

/** Timestamps of one query set: two a dispatch. */
const QUERIES = 4096

/** How often the device's clock is read to compare it. */
const READINGS = 8

/** What a dispatch is. */
export interface DispatchLabel {
  op: string
  kernel: string
  /** The streams that it works for: several where branches were coalesced. */
  streams: readonly string[]
  /** Why it waits for those before it; known of captured work only. */
  barriers: readonly string[]
}

/** One dispatch as the device timed it, nanoseconds on the device's clock. */
export interface ProfiledDispatch extends DispatchLabel {
  begin: number
  end: number
}

/**
 * Times every dispatch on the device with timestamp queries. While one is set as `device.profiler` each dispatch gets a
 * compute pass of its own, which costs time: profile to compare kernels, not to time a step.
 */
export class Profiler {
  readonly #device: GPUDevice
  readonly #queries: GPUQuerySet
  readonly #resolved: GPUBuffer
  #labels: DispatchLabel[] = []
  #staging: { buffer: GPUBuffer; labels: DispatchLabel[] }[] = []

  /** @throws UserError when the device has no timestamp queries */
  constructor(device: GPUDevice) {
    if (!device.features.has('timestamp-query')) {
      throw new UserError('this device has no timestamp queries, so dispatches cannot be timed; choose another adapter')
    }
    this.#device = device
    this.#queries = device.createQuerySet({ type: 'timestamp', count: QUERIES })
    this.#resolved = device.createBuffer({
      size: QUERIES * 8,
      usage: GPUBufferUsage.QUERY_RESOLVE | GPUBufferUsage.COPY_SRC,
    })
  }

  /** The descriptor of the compute pass of one dispatch; past the query set's end dispatches are not timed. */
  pass(label: DispatchLabel): GPUComputePassDescriptor {
    const index = 2 * this.#labels.length
    if (index + 2 > QUERIES) return {}
    this.#labels.push(label)
    return {
      timestampWrites: { querySet: this.#queries, beginningOfPassWriteIndex: index, endOfPassWriteIndex: index + 1 },
    }
  }

  /** Ends the timed passes of an encoder. */
  resolve(encoder: GPUCommandEncoder): void {
    const count = 2 * this.#labels.length
    if (count === 0) return
    const buffer = this.#device.createBuffer({ size: count * 8, usage: GPUBufferUsage.MAP_READ | GPUBufferUsage.COPY_DST })
    encoder.resolveQuerySet(this.#queries, 0, count, this.#resolved, 0)
    encoder.copyBufferToBuffer(this.#resolved, 0, buffer, 0, count * 8)
    this.#staging.push({ buffer, labels: this.#labels })
    this.#labels = []
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
    let least = Number.POSITIVE_INFINITY
    for (let i = 0; i < READINGS; i++) {
      const encoder = this.#device.createCommandEncoder()
      const timestampWrites = { querySet: this.#queries, endOfPassWriteIndex: 0 }
      encoder.beginComputePass({ timestampWrites }).end()
      encoder.resolveQuerySet(this.#queries, 0, 1, this.#resolved, 0)
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
}
