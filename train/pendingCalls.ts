/** The reply of a thread or process to the call of this number. */
export type Reply<T> = { id: number; value: T } | { id: number; error: unknown }

/** Calls that were sent to another thread or process and wait for their replies. */
export class PendingCalls<T> {
  readonly #waiting = new Map<number, { resolve(value: T): void; reject(error: unknown): void }>()
  #calls = 0
  #failure: unknown

  /** Number of calls without a reply. */
  get size(): number {
    return this.#waiting.size
  }

  /**
   * Makes a call. It rejects at once after a failure.
   * @param send sends the call with its number
   */
  call(send: (id: number) => void): Promise<T> {
    if (this.#failure !== undefined) return Promise.reject(this.#failure)
    return new Promise((resolve, reject) => {
      const id = this.#calls++
      this.#waiting.set(id, { resolve, reject })
      send(id)
    })
  }

  /** Settles the call that a reply answers. @returns whether that was pending; any other reply is ignored */
  settle(reply: Reply<T>): boolean {
    const waiting = this.#waiting.get(reply.id)
    if (!waiting) return false
    this.#waiting.delete(reply.id)
    if ('error' in reply) waiting.reject(reply.error)
    else waiting.resolve(reply.value)
    return true
  }

  /** Rejects all pending and later calls with the first failure. */
  fail(error: unknown): void {
    this.#failure ??= error
    for (const { reject } of this.#waiting.values()) reject(this.#failure)
    this.#waiting.clear()
  }
}
