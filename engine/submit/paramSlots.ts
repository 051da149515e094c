import { PARAM_SLOT } from './pipelines.ts'

/**
 * Parameter blocks on the device, each with a bind group of its own. One bind group with dynamic offsets would do for all, but lavapipe makes
 * and maps a new descriptor set at each use of a dynamic offset, which takes it longer than a small dispatch.
 */
export class ParamSlots {
  readonly #device: GPUDevice
  readonly #layout: GPUBindGroupLayout
  readonly #buffer: GPUBuffer
  readonly #groups: GPUBindGroup[] = []

  /** @param slots the number of blocks */
  constructor(device: GPUDevice, layout: GPUBindGroupLayout, slots: number) {
    this.#device = device
    this.#layout = layout
    this.#buffer = device.createBuffer({
      label: 'params',
      size: slots * PARAM_SLOT,
      usage: GPUBufferUsage.UNIFORM | GPUBufferUsage.COPY_DST,
    })
  }

  /** Writes words of 4 bytes, after all that was submitted. @param first the index of the first word */
  write(first: number, words: Uint32Array<ArrayBuffer>): void {
    this.#device.queue.writeBuffer(this.#buffer, first * 4, words)
  }

  /** Returns the bind group of a block, which is made once. */
  group(slot: number): GPUBindGroup {
    const group = this.#groups[slot] ?? this.#make(slot)
    this.#groups[slot] = group
    return group
  }

  #make(slot: number): GPUBindGroup {
    const entry = { binding: 0, resource: { buffer: this.#buffer, offset: slot * PARAM_SLOT, size: PARAM_SLOT } }
    return this.#device.createBindGroup({ layout: this.#layout, entries: [entry] })
  }

  /** Frees the memory. Work that is submitted may still use it. */
  destroy(): void {
    this.#buffer.destroy()
    this.#groups.length = 0
  }
}
