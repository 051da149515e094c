import { fuseHorizontally } from '../graph/horizontalFusion.ts'
import type { ForkMode } from '../graph/lane.ts'
import { planMemory } from '../graph/memoryPlan.ts'
import type { Device } from './device.ts'

/**
 * Runs `fn`, which records into lanes of a fork. In mode `coalesced` its work is captured, fused horizontally, and then recorded by the eager
 * recorder. Inside another capture nothing happens here, because the whole graph is fused later.
 */
export function recordForked<T>(device: Device, mode: ForkMode, fn: () => T): T {
  if (mode !== 'coalesced' || device.capturing) return fn()
  const { graph, result } = device.captureGraph(fn)
  const fused = fuseHorizontally(graph.commands, device.gpu.limits.maxStorageBufferBindingSize)
  const { scratch } = planMemory(fused, {
    buffers: graph.buffers,
    constants: new Set(),
    takeScratch: (sizes) => sizes.map((bytes) => device.acquirePooled(bytes)),
    takeKept: (bytes) => device.acquirePooled(bytes),
  })
  device.emit(fused.commands)
  // The memory can be reused at once, because commands run in recorded order.
  for (const { buffer } of scratch) device.release(buffer)
  graph.dispose()
  return result
}
