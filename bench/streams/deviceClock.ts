/** Times stretches of work on the device with a timestamp before and one after all of it, however it is divided. */
export class DeviceClock {
  readonly #device: GPUDevice
  readonly #queries: GPUQuerySet
  readonly #resolved: GPUBuffer

  /** A clock, where the device has timestamps. */
  static of(device: GPUDevice): DeviceClock | undefined {
    return device.features.has('timestamp-query') ? new DeviceClock(device) : undefined
  }

  private constructor(device: GPUDevice) {
    this.#device = device
    this.#queries = device.createQuerySet({ type: 'timestamp', count: 2 })
    this.#resolved = device.createBuffer({ size: 16, usage: GPUBufferUsage.QUERY_RESOLVE | GPUBufferUsage.COPY_SRC })
  }

  /** Starts behind everything submitted so far. */
  begin(): void {
    this.#mark(0)
  }

  /** Ends behind everything submitted so far. */
  end(): void {
    this.#mark(1)
  }

  /** Milliseconds between the last `begin` and `end`. */
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

  /** An empty pass ends when all before it has. */
  #mark(index: number): void {
    const encoder = this.#device.createCommandEncoder()
    encoder.beginComputePass({ timestampWrites: { querySet: this.#queries, endOfPassWriteIndex: index } }).end()
    this.#device.queue.submit([encoder.finish()])
  }
}
