/** A GPU buffer that the pool owns. */
export interface PooledBuffer {
  readonly id: number
  readonly gpu: GPUBuffer
  readonly bytes: number
  /** Serial of the last submission that uses the buffer. */
  lastUse: number
  /** Whether the device had no memory for the buffer. The pool does not hand out such a buffer again. */
  broken: boolean
}

/** A pooled buffer that holds planned buffers; the last of its users returns it to the pool. */
export interface Block {
  readonly buffer: PooledBuffer
  users: number
}

/** A buffer of a captured graph. The memory plan later places it in a block, which it shares with buffers of other lifetimes. */
export class PlannedBuffer {
  readonly bytes: number
  /** Whether only the graph's own commands use the buffer. */
  released = false
  allocation: { readonly block: Block; readonly offset: number } | undefined

  constructor(bytes: number) {
    this.bytes = bytes
  }
}

/** The buffer of a tensor: a pooled one, or a planned one for a tensor made inside a capture. */
export type DeviceBuffer = PooledBuffer | PlannedBuffer

export function isPlanned(buffer: DeviceBuffer): buffer is PlannedBuffer {
  return buffer instanceof PlannedBuffer
}
