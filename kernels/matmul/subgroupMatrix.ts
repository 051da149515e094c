import { ceilDiv, grid1d, type Variant } from '../spec.ts'
import { bindings, type Matmul, storeConstants } from './problem.ts'
import source from './subgroupMatrix.wgsl'
import { eightLoads } from './tiles.ts'

/** How a workgroup shares its tile: its subgroups in the directions of m and n, and the 16 x 16 matrices of each. */
interface MatrixTile {
  subgroups: readonly [m: number, n: number]
  fragments: readonly [m: number, n: number]
  /** The elements along k that a workgroup takes at a time. */
  depth: number
}

/** Tiles of 64 x 64 and of 128 x 128. */
const SMALL: MatrixTile = { subgroups: [2, 2], fragments: [2, 2], depth: 32 }
const LARGE: MatrixTile = { subgroups: [2, 4], fragments: [4, 2], depth: 32 }

/** The variant that computes the product on such tiles. */
export function matrixVariant(name: string, tile: MatrixTile): Variant<Matmul> {
  // The rows and columns of a tile.
  const [m, n] = [16 * tile.subgroups[0] * tile.fragments[0], 16 * tile.subgroups[1] * tile.fragments[1]]
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
      ...eightLoads(problem),
      ...storeConstants(bindings.slice(2), problem),
    }),
    grid: (problem) => grid1d(ceilDiv(problem.m, m) * ceilDiv(problem.n, n) * problem.batches * problem.splits),
  }
}

/** `subgroupMatrix` multiplies float16 operands on tensor cores; `subgroupMatrixSmall` has smaller tiles, for a small C. */
export const matrixVariants = {
  large: matrixVariant('subgroupMatrix', LARGE),
  small: matrixVariant('subgroupMatrixSmall', SMALL),
}
