import { collectGarbage } from '#platform'
import { OutOfMemoryError } from '../base/errors.ts'
import type { ResolvedBinding } from './bindings.ts'
import type { PooledBuffer } from './deviceBuffer.ts'

/** Bind groups kept for reuse by each device. */
const KEPT = 8192
/** Bind groups that were made and not collected, from which on the garbage is collected after every `KEPT` more. */
const COLLECT_FROM = 16_384
/**
 * The parts of the driver's room that all bind groups, and those of captured programs, may take. Lavapipe needs another three quarters of the
 * latter while programs run.
 */
const SHARE = 0.68
const SHARE_OF_PROGRAMS = 0.42

/**
 * Bind groups of all devices that JavaScript has not collected, as far as it has told (which it does between turns of the event loop
 * only), and those made or let go since it was last made to look.
 */
let uncollected = 0
let sinceCollection = 0
/** Of captured programs. */
let held = 0
const collected = new FinalizationRegistry<undefined>(() => uncollected--)

/** Collects the garbage where that is due. */
function collectSome(): void {
  if (uncollected < COLLECT_FROM || sinceCollection < KEPT) return
  sinceCollection = 0
  collectGarbage()
}

/** The layout of a kernel's bindings; kernels of one layout can share bind groups. */
interface BindingLayout {
  readonly layout: number
  readonly bindGroupLayout: GPUBindGroupLayout
}

/** Bind groups by kernel layout and memory, each made once while its buffers live. */
export class BindGroups {
  readonly #device: GPUDevice
  readonly #limit: number
  readonly #groups = new Map<string, GPUBindGroup>()
  readonly #keysOf = new Map<number, Set<string>>()

  /** @param limit how many the driver has room for, in this process */
  constructor(device: GPUDevice, limit: number) {
    this.#device = device
    this.#limit = limit
  }

  /** Makes room for a program of so many dispatches. @throws OutOfMemoryError when the driver has none */
  reserve(dispatches: number): void {
    const fits = held + dispatches <= SHARE_OF_PROGRAMS * this.#limit && uncollected + dispatches <= SHARE * this.#limit
    if (!fits) throw this.#full()
    held += dispatches
  }

  /** Says that a program of so many dispatches has let its bind groups go. */
  release(dispatches: number): void {
    held -= dispatches
    sinceCollection += dispatches
    collectSome()
  }

  /** After a wait for the device: lets the driver have back what was dropped, where that is much. */
  async settle(): Promise<void> {
    if (uncollected < COLLECT_FROM) return
    sinceCollection = 0
    collectGarbage()
    // What was collected is told in a later turn of the event loop.
    await new Promise((resolve) => setTimeout(resolve))
  }

  /** A bind group that the caller keeps. @throws OutOfMemoryError when the driver has room for no more */
  make({ bindGroupLayout: layout }: BindingLayout, bindings: readonly ResolvedBinding[]): GPUBindGroup {
    collectSome()
    if (uncollected >= SHARE * this.#limit) throw this.#full()
    const entries = bindings.map(({ buffer, offset }, binding) => ({ binding, resource: { buffer: buffer.gpu, offset } }))
    const group = this.#device.createBindGroup({ layout, entries })
    uncollected++
    sinceCollection++
    collected.register(group, undefined)
    return group
  }

  /** @throws OutOfMemoryError when the driver has room for no more */
  get(kernel: BindingLayout, bindings: readonly ResolvedBinding[]): GPUBindGroup {
    let key = `${kernel.layout}`
    for (const { buffer, offset } of bindings) key += ` ${buffer.id}+${offset}`
    let group = this.#groups.get(key)
    if (!group) {
      if (this.#groups.size >= KEPT) {
        this.#groups.clear()
        this.#keysOf.clear()
      }
      group = this.make(kernel, bindings)
      this.#groups.set(key, group)
      for (const { buffer } of bindings) {
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

  #full(): OutOfMemoryError {
    const [all, programs] = [SHARE, SHARE_OF_PROGRAMS].map((share) => Math.floor(share * this.#limit))
    return new OutOfMemoryError(
      `the driver has room for ${all} bind groups, one for each dispatch since the last wait, and for ${programs} dispatches of captured steps; ` +
        'await device.synchronize() more often, dispose() captured steps no longer used, or coalesce branches',
    )
  }
}
