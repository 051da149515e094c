import type { BufferUse } from '../memory/bindings.ts'

/**
 * Tells of commands in their order why the driver makes each wait for those before it, such as `read after write of layerNorm`. As in
 * Dawn's Vulkan backend, which remembers for each buffer how it was used last: any two uses but two reads put a barrier between
 * them, and a barrier waits for everything.
 */
export class Barriers {
  readonly #last = new Map<GPUBuffer, { write: boolean; op: string }>()

  /** @returns the reasons of the next command, none where it need not wait */
  next(op: string, uses: readonly BufferUse[]): string[] {
    const reasons = new Set<string>()
    const own = new Map<GPUBuffer, boolean>()
    for (const { buffer, write } of uses) own.set(buffer, write || (own.get(buffer) ?? false))
    for (const [buffer, write] of own) {
      const before = this.#last.get(buffer)
      if (before && (before.write || write)) {
        reasons.add(`${write ? 'write' : 'read'} after ${before.write ? 'write' : 'read'} of ${before.op}`)
      }
      this.#last.set(buffer, { write, op })
    }
    return [...reasons]
  }
}
