/** A GPU buffer owned by the pool. */
export interface PooledBuffer {
  readonly id: number
  readonly gpu: GPUBuffer
  readonly bytes: number
  /** Serial of the last batch of commands recorded with it. */
  lastUse: number
  /** The device had no memory for it: nobody may get it again. */
  broken: boolean
}

/** A pooled buffer that several virtual buffers lie in; it goes back to the pool with the last of its users. */
export interface Block {
  readonly buffer: PooledBuffer
  users: number
}

let created = 0

/**
 * Memory that a graph records with before anybody knows where it will lie: the plan of the graph places it in a block, beside
 * others or where others have been.
 */
export class PlannedBuffer {
  readonly id = created++
  readonly bytes: number
  /** Nobody but the graph's own commands uses it any more. */
  released = false
  place: { readonly block: Block; readonly offset: number } | undefined

  constructor(bytes: number) {
    this.bytes = bytes
  }
}

/** What a tensor's memory can be. */
export type DeviceBuffer = PooledBuffer | PlannedBuffer

export function isPlanned(buffer: DeviceBuffer): buffer is PlannedBuffer {
  return buffer instanceof PlannedBuffer
}
