import { fuseHorizontally } from '../graph/horizontalFusion.ts'
import { planMemory } from '../graph/memoryPlan.ts'
import type { Device } from './device.ts'

/** Records what `fn` does, weaves it and hands it to the current stream. */
export function runOnce<T>(device: Device, fn: () => T): T {
  const { graph, result } = device.record(fn)
  const woven = fuseHorizontally(graph.commands, device.gpu.limits.maxStorageBufferBindingSize)
  const { scratch } = planMemory(woven, {
    buffers: graph.buffers,
    constants: new Set(),
    takeScratch: (sizes) => sizes.map((bytes) => device.acquirePooled(bytes)),
    takeKept: (bytes) => device.acquirePooled(bytes),
  })
  device.emit(woven.commands)
  // As everywhere, freed memory may be used again at once: commands run in recorded order.
  for (const { buffer } of scratch) device.release(buffer)
  graph.dispose()
  return result
}
