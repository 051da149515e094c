/** One use of a buffer by a dispatch. */
export interface BufferUse {
  buffer: GPUBuffer
  write: boolean
}

/**
 * For each dispatch of a list that runs again and again, why the driver makes it wait for those before it, such as
 * `read after write of layerNorm`. As in Dawn's Vulkan backend, which remembers for each buffer how it was used last: any two
 * uses but two reads put a barrier between them, and a barrier waits for everything.
 */
export function barriers(dispatches: readonly { op: string; uses: readonly BufferUse[] }[]): string[][] {
  const last = new Map<GPUBuffer, { write: boolean; op: string }>()
  const round = () =>
    dispatches.map(({ op, uses }) => {
      const reasons = new Set<string>()
      const own = new Map<GPUBuffer, boolean>()
      for (const { buffer, write } of uses) own.set(buffer, write || (own.get(buffer) ?? false))
      for (const [buffer, write] of own) {
        const before = last.get(buffer)
        if (before && (before.write || write)) {
          reasons.add(`${write ? 'write' : 'read'} after ${before.write ? 'write' : 'read'} of ${before.op}`)
        }
        last.set(buffer, { write, op })
      }
      return [...reasons]
    })
  round()
  return round()
}
