import { type Capabilities, ceilDiv, grid1d, type Variant } from '../spec.ts'
import { operandLoads } from './operandLoads.ts'
import { bindings, type Matmul, storeConstants } from './problem.ts'
import source from './subgroupMatrix.wgsl'

/** How a workgroup shares its tile: its subgroups in the directions of m and n, and the 16 x 16 matrices of each. */
interface MatrixTile {
  subgroups: readonly [m: number, n: number]
  fragments: readonly [m: number, n: number]
  /** The elements along k that it takes at a time. */
  depth: number
}

/** Tiles of 64 x 64 and of 128 x 128. */
const SMALL: MatrixTile = { subgroups: [2, 2], fragments: [2, 2], depth: 32 }
const LARGE: MatrixTile = { subgroups: [2, 4], fragments: [4, 2], depth: 32 }

/** The number of tiles that fills a GPU. With fewer large tiles the small ones are taken. */
const FILLS = 128

/** The product on tiles of one kind. */
export function matrixVariant(name: string, tile: MatrixTile): Variant<Matmul> {
  const [m, n] = sizeOf(tile)
  const subgroups = tile.subgroups[0] * tile.subgroups[1]
  // Rows of a tile are padded by 8 elements, and each subgroup stages a matrix of float32.
  const memory = 2 * (m + n) * (tile.depth + 8) + 1024 * subgroups
  return {
    name,
    source,
    supports(device, { dtypes }) {
      const fits = subgroups * device.subgroupMaxSize <= device.maxInvocations && memory <= device.maxWorkgroupMemory
      return device.subgroupMatrix && fits && dtypes?.a === 'f16' && dtypes.b === 'f16'
    },
    constants: (problem, device) => ({
      LANES: device.subgroupMaxSize,
      SUBGROUPS_M: tile.subgroups[0],
      SUBGROUPS_N: tile.subgroups[1],
      FRAGMENTS_M: tile.fragments[0],
      FRAGMENTS_N: tile.fragments[1],
      DEPTH: tile.depth,
      ...operandLoads(problem),
      ...storeConstants(bindings.slice(2), problem),
    }),
    grid: (problem) => grid1d(tiles(problem, tile) * problem.splits),
  }
}

/** `subgroupMatrix` multiplies float16 operands on tensor cores; `subgroupMatrixSmall` has smaller tiles, for a small C. */
export const matrixVariants: readonly Variant<Matmul>[] = [
  matrixVariant('subgroupMatrix', LARGE),
  matrixVariant('subgroupMatrixSmall', SMALL),
]

/** Names the variant with tensor cores to take on a GPU, or undefined where none runs the problem. */
export function chooseMatrices(device: Capabilities, problem: Matmul): string | undefined {
  const [large, small] = matrixVariants.map((one) => one.supports!(device, problem))
  if (large && (!small || tiles(problem, LARGE) * problem.splits >= FILLS)) return 'subgroupMatrix'
  return small ? 'subgroupMatrixSmall' : undefined
}

function sizeOf({ subgroups, fragments }: MatrixTile): [m: number, n: number] {
  return [16 * subgroups[0] * fragments[0], 16 * subgroups[1] * fragments[1]]
}

function tiles(problem: Matmul, tile: MatrixTile): number {
  const [m, n] = sizeOf(tile)
  return ceilDiv(problem.m, m) * ceilDiv(problem.n, n) * problem.batches
}
