import type { PooledBuffer } from './bufferPool.ts'
import type { CompiledKernel } from './pipelines.ts'
import type { PlacedRange } from './ranges.ts'

/** Bind groups kept for reuse. Drivers hold memory for each: lavapipe a mapping, of which a process has 65,530. */
const MOST = 8192

/** Bind groups by kernel layout and memory, each made once while its buffers live. */
export class BindGroups {
  readonly #device: GPUDevice
  readonly #groups = new Map<string, GPUBindGroup>()
  readonly #keysOf = new Map<number, Set<string>>()

  constructor(device: GPUDevice) {
    this.#device = device
  }

  /** A bind group that the caller keeps. */
  make({ bindGroupLayout: layout }: CompiledKernel, ranges: readonly PlacedRange[]): GPUBindGroup {
    const entries = ranges.map(({ buffer, offset }, binding) => ({ binding, resource: { buffer: buffer.gpu, offset } }))
    return this.#device.createBindGroup({ layout, entries })
  }

  get(kernel: CompiledKernel, ranges: readonly PlacedRange[]): GPUBindGroup {
    let key = `${kernel.layout}`
    for (const { buffer, offset } of ranges) key += ` ${buffer.id}+${offset}`
    let group = this.#groups.get(key)
    if (!group) {
      if (this.#groups.size >= MOST) {
        this.#groups.clear()
        this.#keysOf.clear()
      }
      group = this.make(kernel, ranges)
      this.#groups.set(key, group)
      for (const { buffer } of ranges) {
        const keys = this.#keysOf.get(buffer.id)
        if (keys) keys.add(key)
        else this.#keysOf.set(buffer.id, new Set([key]))
      }
    }
    return group
  }

  /** Forgets the groups of a buffer that is about to go. */
  drop(buffer: PooledBuffer): void {
    for (const key of this.#keysOf.get(buffer.id) ?? []) this.#groups.delete(key)
    this.#keysOf.delete(buffer.id)
  }
}
