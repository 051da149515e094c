import type { Device } from '../engine/index.ts'
import type { Binding } from '../engine/memory/bindings.ts'

/** Bytes that are copied to empty the caches: more than the last-level caches of GPUs, and of processors, hold. */
const GPU_BYTES = 256 << 20
const SOFTWARE_BYTES = 64 << 20

/** Empties the device's caches by copying a buffer larger than they are. The device's clock times dispatches, not copies. */
export class CacheFlush {
  readonly #device: Device
  readonly #source: Binding
  readonly #target: Binding
  readonly #bytes: number

  constructor(device: Device) {
    const { maxBufferSize, maxStorageBufferBindingSize } = device.gpu.limits
    const bytes = device.capabilities.software ? SOFTWARE_BYTES : GPU_BYTES
    this.#device = device
    this.#bytes = Math.min(bytes, maxBufferSize, maxStorageBufferBindingSize)
    this.#source = { buffer: device.acquire(this.#bytes), offset: 0 }
    this.#target = { buffer: device.acquire(this.#bytes), offset: 0 }
  }

  /** Records the copy into the current stream. */
  readonly record = (): void => this.#device.copy(this.#source, this.#target, this.#bytes)

  dispose(): void {
    this.#device.release(this.#source.buffer)
    this.#device.release(this.#target.buffer)
  }
}
