import { ceilDiv, grid1d, type Variant } from '../spec.ts'
import { bindings, isLong, type Matmul, storeConstants } from './problem.ts'
import source from './tiled.wgsl'
import { operandLoads } from './tiles.ts'

/** The number of threads of a workgroup. */
const THREADS = 256

/** The variant with tiles of 64 x 64 elements, or of `blocks` times as many in either direction. */
function tiledVariant(name: string, blocks: number): Variant<Matmul> {
  const depth = 32 / blocks
  const memory = 2 * depth * (16 * blocks + 1) * 16
  return {
    name,
    source,
    supports: (device) => device.maxInvocations >= THREADS && device.maxWorkgroupMemory >= memory,
    constants: (problem) => ({
      BLOCKS: blocks,
      LONG: isLong(problem),
      ...operandLoads(problem),
      ...storeConstants(bindings.slice(2), problem),
    }),
    grid: ({ m, n, batches, splits }) => grid1d(ceilDiv(m, 64 * blocks) * ceilDiv(n, 64 * blocks) * batches * splits),
  }
}

/** `tiled` computes 64 x 64 elements in a workgroup and 4 x 4 in a thread, `tiledLarge` 128 x 128 and 8 x 8. */
export const tiledVariants = { small: tiledVariant('tiled', 1), large: tiledVariant('tiledLarge', 2) }
