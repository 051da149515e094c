import type { PooledBuffer } from './deviceBuffer.ts'

/** Allocates the buffers of a workspace. */
interface WorkspacePool {
  /** @throws OutOfMemoryError, DeviceLostError */
  acquirePooled(bytes: number): PooledBuffer
  release(buffer: PooledBuffer): void
}

/** Memory for the intermediate values of executable graphs. Those of one device run in turn, so they share the buffers. */
export class Workspace {
  readonly #pool: WorkspacePool
  /** The buffers, largest first. */
  #buffers: { buffer: PooledBuffer; users: number }[] = []

  constructor(pool: WorkspacePool) {
    this.#pool = pool
  }

  /** Gives distinct buffers of at least these sizes, which are sorted, largest first. @throws OutOfMemoryError, DeviceLostError */
  take(sizes: readonly number[]): PooledBuffer[] {
    const free = [...this.#buffers]
    const taken = sizes.map((bytes) => {
      // The smallest buffer that is large enough is taken, but much larger ones are left to those that need them.
      const at = free.findLastIndex(({ buffer }) => buffer.bytes >= bytes)
      if (at >= 0 && free[at]!.buffer.bytes <= 2 * bytes) return free.splice(at, 1)[0]!
      const made = { buffer: this.#pool.acquirePooled(bytes), users: 0 }
      this.#buffers.push(made)
      return made
    })
    for (const entry of taken) entry.users++
    this.#buffers.sort((a, b) => b.buffer.bytes - a.buffer.bytes)
    return taken.map(({ buffer }) => buffer)
  }

  /** Ends one use of each buffer, and returns the buffers that have no users any more to the pool. */
  give(buffers: readonly PooledBuffer[]): void {
    const returned = new Set(buffers)
    for (const entry of this.#buffers) {
      if (returned.has(entry.buffer) && --entry.users === 0) this.#pool.release(entry.buffer)
    }
    this.#buffers = this.#buffers.filter(({ users }) => users > 0)
  }
}
