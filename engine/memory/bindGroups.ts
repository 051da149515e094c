import { collectGarbage } from '#platform'
import { OutOfMemoryError } from '../base/errors.ts'
import { getOrMake } from '../base/maps.ts'
import type { ResolvedBinding } from './bindings.ts'
import type { PooledBuffer } from './deviceBuffer.ts'

/** The most bind groups that each device keeps for reuse. */
const KEPT = 8192
/** With this many bind groups not yet collected, garbage is collected each time that `KEPT` more were made or released. */
const COLLECT_FROM = 16_384
/** The most bind groups at a time, as a share of the driver's limit on bind groups. */
const SHARE = 0.68
/** The most bind groups of executable graphs, as a share of the driver's limit; the rest is for ops. */
const GRAPH_SHARE = 0.42

/** Bytes between the places where a binding can start. */
const OFFSET_STEP = 256
/** More than the buffers that a device makes in its life; offsets in buffers are told apart by multiples of it. */
const MOST_BUFFERS = 2 ** 28

// These counters cover all devices, because the driver limits the bind groups of the whole process.
/** Bind groups not known to be collected; JavaScript reports collection only between turns of the event loop. */
let uncollected = 0
/** Bind groups made or released since this module last collected garbage. */
let sinceCollection = 0
/** Bind groups that executable graphs hold. */
let held = 0
const collected = new FinalizationRegistry<undefined>(() => uncollected--)

/** Collects garbage when enough bind groups are uncollected, and enough of them are new since the last collection. */
function collectWhenDue(): void {
  if (uncollected < COLLECT_FROM || sinceCollection < KEPT) return
  sinceCollection = 0
  collectGarbage()
}

/** Identifies the layout of a kernel's bindings; kernels with equal layouts can share bind groups. */
interface BindingLayout {
  readonly layout: number
  readonly bindGroupLayout: GPUBindGroupLayout
}

/** Bind groups by the layout of their kernels, then by each binding in order: one number leads from each level to the next. */
type Level = Map<number, Level | GPUBindGroup>

/** The place of a cached bind group. */
interface Entry {
  readonly level: Level
  readonly key: number
}

/** Identifies a binding: the number of the buffer where it starts there, as nearly all do, else a larger number. */
function keyOf({ buffer, offset }: ResolvedBinding): number {
  return offset === 0 ? buffer.id : buffer.id + (offset / OFFSET_STEP) * MOST_BUFFERS
}

/** Caches bind groups by kernel layout and memory, while their buffers live. */
export class BindGroups {
  readonly #device: GPUDevice
  readonly #limit: number
  /** The levels by layout. */
  readonly #groups: Level = new Map()
  #cached = 0
  readonly #entriesOf = new Map<number, Set<Entry>>()

  /** @param limit bind groups that the driver allows in this process */
  constructor(device: GPUDevice, limit: number) {
    this.#device = device
    this.#limit = limit
  }

  /** Reserves bind groups for an executable graph. @throws OutOfMemoryError when the driver has no room for them */
  reserve(groups: number): void {
    const fits = held + groups <= GRAPH_SHARE * this.#limit && uncollected + groups <= SHARE * this.#limit
    if (!fits) throw this.#full()
    held += groups
  }

  /** Gives back what `reserve` took for an executable graph, whose bind groups are now dropped. */
  release(groups: number): void {
    held -= groups
    sinceCollection += groups
    collectWhenDue()
  }

  /** Frees dropped bind groups where they are many. Callers have just waited for the device. */
  async settle(): Promise<void> {
    if (uncollected < COLLECT_FROM) return
    sinceCollection = 0
    collectGarbage()
    // JavaScript reports what it collected in a later turn of the event loop.
    await new Promise((resolve) => setTimeout(resolve))
  }

  /** @throws OutOfMemoryError when the driver has room for no more bind groups */
  checkRoom(): void {
    collectWhenDue()
    if (uncollected >= SHARE * this.#limit) throw this.#full()
  }

  /** Makes a bind group that the caller keeps. @throws OutOfMemoryError as `checkRoom` does */
  make(kernel: BindingLayout, bindings: readonly ResolvedBinding[]): GPUBindGroup {
    this.checkRoom()
    return this.#make(kernel, bindings)
  }

  #make({ bindGroupLayout: layout }: BindingLayout, bindings: readonly ResolvedBinding[]): GPUBindGroup {
    const entries = bindings.map(({ buffer, offset }, binding) => ({ binding, resource: { buffer: buffer.gpu, offset } }))
    const group = this.#device.createBindGroup({ layout, entries })
    uncollected++
    sinceCollection++
    collected.register(group, undefined)
    return group
  }

  /**
   * Returns the cached bind group of a kernel's layout and memory, or makes it.
   * @param hasRoom whether `checkRoom` was called for it already
   * @throws OutOfMemoryError as `checkRoom` does, unless it was called
   */
  get(kernel: BindingLayout, bindings: readonly ResolvedBinding[], hasRoom = false): GPUBindGroup {
    let found: Level | GPUBindGroup | undefined = this.#groups.get(kernel.layout)
    for (let i = 0; found && i < bindings.length; i++) found = (found as Level).get(keyOf(bindings[i]!))
    if (found) return found as GPUBindGroup
    if (!hasRoom) this.checkRoom()
    return this.#add(kernel, bindings)
  }

  /** Makes a bind group and caches it. */
  #add(kernel: BindingLayout, bindings: readonly ResolvedBinding[]): GPUBindGroup {
    if (this.#cached++ >= KEPT) {
      this.#groups.clear()
      this.#entriesOf.clear()
      this.#cached = 1
    }
    const group = this.#make(kernel, bindings)
    let level = this.#groups
    let key = kernel.layout
    for (const binding of bindings) {
      level = getOrMake(level, key, () => new Map()) as Level
      key = keyOf(binding)
    }
    level.set(key, group)
    const entry = { level, key }
    for (const { buffer } of bindings) getOrMake(this.#entriesOf, buffer.id, () => new Set()).add(entry)
    return group
  }

  /** Drops the cached bind groups of a buffer that is about to be destroyed. */
  drop(buffer: PooledBuffer): void {
    for (const { level, key } of this.#entriesOf.get(buffer.id) ?? []) level.delete(key)
    this.#entriesOf.delete(buffer.id)
  }

  #full(): OutOfMemoryError {
    const [all, graphs] = [SHARE, GRAPH_SHARE].map((share) => Math.floor(share * this.#limit))
    return new OutOfMemoryError(
      `the driver has room for ${all} bind groups, one for each dispatch since the last wait, and for ${graphs} of captured steps; ` +
        'await device.synchronize() more often, dispose() captured steps no longer used, or coalesce branches',
    )
  }
}
