import type { RefCounted } from './bindings.ts'
import { type DeviceBuffer, isPlanned } from './deviceBuffer.ts'

/** Allocates memory for tensors. */
export interface Allocator {
  /** @throws OutOfMemoryError, DeviceLostError */
  acquire(bytes: number): DeviceBuffer
  release(buffer: DeviceBuffer): void
  /** Counts memory that was freed only because the garbage collector found its tensors dropped. */
  reclaimed(bytes: number): void
}

/** The memory of a tensor and its views; it is freed with the last of them. */
export class Storage<D extends Allocator = Allocator> implements RefCounted {
  readonly device: D
  readonly buffer: DeviceBuffer
  /** The size asked for; the buffer may be larger. */
  readonly bytes: number
  #references = 1

  /** @throws OutOfMemoryError, DeviceLostError */
  constructor(device: D, bytes: number) {
    this.device = device
    this.bytes = bytes
    this.buffer = device.acquire(bytes)
  }

  retain(): this {
    this.#references++
    return this
  }

  /** Whether the memory has more than one user. */
  get shared(): boolean {
    return this.#references > 1
  }

  release(): void {
    if (--this.#references === 0) this.device.release(this.buffer)
  }

  /** Releases the memory for a tensor that was dropped without `dispose()`. */
  drop(): void {
    this.release()
    if (this.#references === 0 && !isPlanned(this.buffer)) this.device.reclaimed(this.bytes)
  }
}
