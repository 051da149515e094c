import { fuseHorizontally } from '../graph/horizontalFusion.ts'
import type { ForkMode } from '../graph/lane.ts'
import { planMemory } from '../graph/memoryPlan.ts'
import type { Device } from './device.ts'

/**
 * Runs `fn`, which forks. In mode `coalesced` the matching dispatches of its branches become one before they are recorded into the
 * current stream; where a graph is being recorded already, that is left to the graph.
 */
export function recordForked<T>(device: Device, mode: ForkMode, fn: () => T): T {
  if (mode !== 'coalesced' || device.recording) return fn()
  const { graph, result } = device.record(fn)
  const fused = fuseHorizontally(graph.commands, device.gpu.limits.maxStorageBufferBindingSize)
  const { scratch } = planMemory(fused, {
    buffers: graph.buffers,
    constants: new Set(),
    takeScratch: (sizes) => sizes.map((bytes) => device.acquirePooled(bytes)),
    takeKept: (bytes) => device.acquirePooled(bytes),
  })
  device.emit(fused.commands)
  // Freed memory may be used again at once, as everywhere: commands run in recorded order.
  for (const { buffer } of scratch) device.release(buffer)
  graph.dispose()
  return result
}
