/** Times work on the device with one timestamp before it and one after it, whatever number of submits it has. */
export class DeviceClock {
  readonly #device: GPUDevice
  readonly #queries: GPUQuerySet
  readonly #resolved: GPUBuffer

  /** Makes a clock for a device with timestamps; undefined for others. */
  static of(device: GPUDevice): DeviceClock | undefined {
    return device.features.has('timestamp-query') ? new DeviceClock(device) : undefined
  }

  private constructor(device: GPUDevice) {
    this.#device = device
    this.#queries = device.createQuerySet({ type: 'timestamp', count: 2 })
    this.#resolved = device.createBuffer({ size: 16, usage: GPUBufferUsage.QUERY_RESOLVE | GPUBufferUsage.COPY_SRC })
  }

  /** Marks the begin of the work, after everything submitted so far. */
  begin(): void {
    this.#mark(0)
  }

  /** Marks the end of the work, after everything submitted so far. */
  end(): void {
    this.#mark(1)
  }

  /** Reads the milliseconds on the device between the last `begin` and the last `end`. */
  async read(): Promise<number> {
    const staging = this.#device.createBuffer({ size: 16, usage: GPUBufferUsage.MAP_READ | GPUBufferUsage.COPY_DST })
    const encoder = this.#device.createCommandEncoder()
    encoder.resolveQuerySet(this.#queries, 0, 2, this.#resolved, 0)
    encoder.copyBufferToBuffer(this.#resolved, 0, staging, 0, 16)
    this.#device.queue.submit([encoder.finish()])
    await staging.mapAsync(GPUMapMode.READ)
    const [begin, end] = new BigUint64Array(staging.getMappedRange())
    const milliseconds = Number(end! - begin!) / 1e6
    staging.destroy()
    return milliseconds
  }

  dispose(): void {
    this.#queries.destroy()
    this.#resolved.destroy()
  }

  /** Submits an empty pass that writes a timestamp: it ends when all work before it has ended. */
  #mark(index: number): void {
    const encoder = this.#device.createCommandEncoder()
    encoder.beginComputePass({ timestampWrites: { querySet: this.#queries, endOfPassWriteIndex: index } }).end()
    this.#device.queue.submit([encoder.finish()])
  }
}
