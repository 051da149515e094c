import { type Capabilities, ceilDiv, grid1d, type Variant } from '../spec.ts'
import { operandLoads } from './operandLoads.ts'
import { bindings, isLong, type Matmul, storeConstants } from './problem.ts'
import source from './tiled.wgsl'

/** The threads of a workgroup. */
const THREADS = 256
/** The number of tiles that fills a GPU. With fewer large tiles the small ones are taken. */
const FILLS = 128

/** The product on tiles of 64 x 64 elements, times `blocks` in either direction. */
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
    grid: (problem) => grid1d(tiles(problem, blocks) * problem.splits),
  }
}

/** `tiled` computes 64 x 64 elements in a workgroup and 4 x 4 in a thread, `tiledLarge` 128 x 128 and 8 x 8. */
export const tiledVariants: readonly Variant<Matmul>[] = [tiledVariant('tiled', 1), tiledVariant('tiledLarge', 2)]

/** Names the tiled variant to take on a GPU, or undefined where none runs the problem. */
export function chooseTiled(device: Capabilities, problem: Matmul): string | undefined {
  const [small, large] = tiledVariants.map((one) => one.supports!(device, problem))
  if (large && (!small || tiles(problem, 2) * problem.splits >= FILLS)) return 'tiledLarge'
  return small ? 'tiled' : undefined
}

function tiles({ m, n, batches }: Matmul, blocks: number): number {
  return ceilDiv(m, 64 * blocks) * ceilDiv(n, 64 * blocks) * batches
}
