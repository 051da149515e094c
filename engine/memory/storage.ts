import type { Device } from '../device/device.ts'
import { type DeviceBuffer, isPlanned } from './plannedMemory.ts'

/** Memory shared by a tensor and its views, freed with the last of them. */
export class Storage {
  readonly device: Device
  readonly buffer: DeviceBuffer
  /** What was asked for. */
  readonly bytes: number
  #references = 1

  constructor(device: Device, bytes: number) {
    this.device = device
    this.bytes = bytes
    this.buffer = device.acquire(bytes)
  }

  retain(): this {
    this.#references++
    return this
  }

  /** Whether more than one tensor is here. */
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
