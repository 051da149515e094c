import { PARAM_SLOT } from './pipelines.ts'

/**
 * Parameter blocks on the device, each with a bind group of its own. One bind group with dynamic offsets would do for all, but lavapipe makes
 * and maps a new descriptor set at each use of a dynamic offset, which takes it longer than a small dispatch.
 */
export class ParamSlots {
  /** The bind group of each block. */
  readonly groups: readonly GPUBindGroup[]
  readonly #device: GPUDevice
  readonly #buffer: GPUBuffer

  /** @param slots the number of blocks */
  constructor(device: GPUDevice, layout: GPUBindGroupLayout, slots: number) {
    this.#device = device
    const buffer = device.createBuffer({
      label: 'params',
      size: Math.max(1, slots) * PARAM_SLOT,
      usage: GPUBufferUsage.UNIFORM | GPUBufferUsage.COPY_DST,
    })
    this.#buffer = buffer
    this.groups = Array.from({ length: slots }, (_, slot) => {
      const resource = { buffer, offset: slot * PARAM_SLOT, size: PARAM_SLOT }
      return device.createBindGroup({ layout, entries: [{ binding: 0, resource }] })
    })
  }

  /** Writes words of 4 bytes, after all that was submitted. @param first the index of the first word */
  write(first: number, words: Uint32Array<ArrayBuffer>): void {
    this.#device.queue.writeBuffer(this.#buffer, first * 4, words)
  }

  /** Frees the memory. Work that is submitted may still use it. */
  destroy(): void {
    this.#buffer.destroy()
  }
}
