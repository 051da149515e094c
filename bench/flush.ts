import type { Device } from '../engine/index.ts'
import type { Binding } from '../engine/memory/bindings.ts'

/** Bytes written to empty the caches: more than the last-level cache of any device of the kind. */
const GPU_BYTES = 256 << 20
const SOFTWARE_BYTES = 64 << 20

/** Empties the device's caches by copying a buffer larger than they are. Copies are no dispatches: no clock counts them. */
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

  /** Records the copy. */
  readonly record = (): void => this.#device.copy(this.#source, this.#target, this.#bytes)

  dispose(): void {
    this.#device.release(this.#source.buffer)
    this.#device.release(this.#target.buffer)
  }
}
