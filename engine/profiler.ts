import { UserError } from './errors.ts'

/** Timestamps of one query set: two a dispatch. */
const QUERIES = 4096

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
}

/**
 * Dispatches as a Chrome trace (open in Perfetto or chrome://tracing): one track a stream. A dispatch that coalesced branches
 * share shows on the track of each; a mark where a barrier makes it wait says why.
 */
export function chromeTrace(dispatches: readonly ProfiledDispatch[]): string {
  const streams = [...new Set(dispatches.flatMap((one) => one.streams))].sort(
    (a, b) => Number(b === 'main') - Number(a === 'main'),
  )
  const origin = dispatches.reduce((first, one) => Math.min(first, one.begin), Number.POSITIVE_INFINITY)
  const names = streams.map((name, tid) => ({ ph: 'M', pid: 0, tid, name: 'thread_name', args: { name } }))
  const events = dispatches.flatMap(({ op, kernel, streams: own, barriers, begin, end }) =>
    own.flatMap((stream) => {
      const at = { pid: 0, tid: streams.indexOf(stream), ts: (begin - origin) / 1000 }
      const barrier = { ...at, ph: 'i', s: 't', name: 'barrier', args: { barriers } }
      const event = { ...at, ph: 'X', name: op, dur: (end - begin) / 1000, args: { kernel, branches: own.length, barriers } }
      return barriers.length > 0 ? [barrier, event] : [event]
    }),
  )
  return JSON.stringify({ traceEvents: [...names, ...events], displayTimeUnit: 'ms' })
}
