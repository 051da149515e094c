/** A GPU buffer that the pool owns. */
export interface PooledBuffer {
  readonly id: number
  readonly gpu: GPUBuffer
  readonly bytes: number
  /** Serial of the last submission that uses it. */
  lastUse: number
  /** Whether the device had no memory for it; the pool does not hand it out again. */
  broken: boolean
}

/** A pooled buffer that holds planned buffers; the last of its users returns it to the pool. */
export interface Block {
  readonly buffer: PooledBuffer
  users: number
}

/** Memory of a graph. Its commands are captured with it before the memory plan allocates it in a block, which lifetimes let it share. */
export class PlannedBuffer {
  readonly bytes: number
  /** Whether only the graph's own commands use it. */
  released = false
  allocation: { readonly block: Block; readonly offset: number } | undefined

  constructor(bytes: number) {
    this.bytes = bytes
  }
}

/** The memory of a tensor: eager or captured. */
export type DeviceBuffer = PooledBuffer | PlannedBuffer

export function isPlanned(buffer: DeviceBuffer): buffer is PlannedBuffer {
  return buffer instanceof PlannedBuffer
}
