import type { PooledBuffer } from './deviceBuffer.ts'

/** Gives buffers and takes them back. */
interface WorkspacePool {
  /** @throws OutOfMemoryError, DeviceLostError */
  acquirePooled(bytes: number): PooledBuffer
  release(buffer: PooledBuffer): void
}

/**
 * Memory for the intermediate values of captured programs. Programs of one device run one after the other, so all of them
 * use the same buffers.
 */
export class Workspace {
  readonly #pool: WorkspacePool
  /** Largest first. */
  #buffers: { buffer: PooledBuffer; users: number }[] = []

  constructor(pool: WorkspacePool) {
    this.#pool = pool
  }

  /** Distinct buffers of at least these sizes, given largest first. @throws OutOfMemoryError */
  take(sizes: readonly number[]): PooledBuffer[] {
    const free = [...this.#buffers]
    const taken = sizes.map((bytes) => {
      // The smallest that is large enough; a much larger one is left to who needs it.
      const at = free.findLastIndex(({ buffer }) => buffer.bytes >= bytes)
      if (at >= 0 && free[at]!.buffer.bytes <= 2 * bytes) return free.splice(at, 1)[0]!
      const made = { buffer: this.#pool.acquirePooled(bytes), users: 0 }
      this.#buffers.push(made)
      return made
    })
    for (const one of taken) one.users++
    this.#buffers.sort((a, b) => b.buffer.bytes - a.buffer.bytes)
    return taken.map(({ buffer }) => buffer)
  }

  /** Takes one user from each buffer; those without any go back to the pool. */
  give(buffers: readonly PooledBuffer[]): void {
    const given = new Set(buffers)
    for (const one of this.#buffers) {
      if (given.has(one.buffer) && --one.users === 0) this.#pool.release(one.buffer)
    }
    this.#buffers = this.#buffers.filter(({ users }) => users > 0)
  }
}
