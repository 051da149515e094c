import type { Retained } from './bindings.ts'
import { type DeviceBuffer, isPlanned } from './deviceBuffer.ts'

/** Gives memory and takes it back. */
export interface Allocator {
  /** @throws OutOfMemoryError, DeviceLostError */
  acquire(bytes: number): DeviceBuffer
  release(buffer: DeviceBuffer): void
  /** Counts memory of tensors that the garbage collector found dropped. */
  reclaimed(bytes: number): void
}

/** Memory shared by a tensor and its views, freed with the last of them. */
export class Storage<D extends Allocator = Allocator> implements Retained {
  readonly device: D
  readonly buffer: DeviceBuffer
  /** The size that was asked for; the buffer may be larger. */
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

  /** Whether more than one tensor uses it. */
  get shared(): boolean {
    return this.#references > 1
  }

  release(): void {
    if (--this.#references === 0) this.device.release(this.buffer)
  }

  /** Releases it for a tensor that was dropped without `dispose()`. */
  drop(): void {
    this.release()
    if (this.#references === 0 && !isPlanned(this.buffer)) this.device.reclaimed(this.bytes)
  }
}
