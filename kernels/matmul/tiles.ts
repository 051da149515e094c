import type { Capabilities, Constants, Variant } from '../spec.ts'
import { dtype, type Matmul } from './problem.ts'

/** Along which dim the neighbours of A and B lie, and whether they come in aligned groups of `count`. */
function neighbours({ a, b, m, n, k, aRow, aCol, bRow, bCol }: Matmul, count: number) {
  const alongA = aCol === 1 || aRow !== 1
  const alongB = bRow === 1 || bCol !== 1
  const groupsA = alongA ? comesInGroups(count, aCol, k, aRow, a) : comesInGroups(count, aRow, m, aCol, a)
  const groupsB = alongB ? comesInGroups(count, bRow, k, bCol, b) : comesInGroups(count, bCol, n, bRow, b)
  return { alongA, alongB, groupsA, groupsB }
}

/** How tiles of float16 are loaded: the dim along which neighbours lie, and whether by eights, which are 16 bytes. */
export function eightLoads(problem: Matmul): Constants {
  const { alongA, alongB, groupsA, groupsB } = neighbours(problem, 8)
  return { ALONG_K_A: alongA, ALONG_K_B: alongB, UNIT_A: groupsA ? 8 : 1, UNIT_B: groupsB ? 8 : 1 }
}

/** How tiles of A and B are loaded: the dim along which neighbours lie, whether by fours, and the element types of the bindings. */
export function operandLoads(problem: Matmul): Constants {
  const { alongA, alongB, groupsA: foursA, groupsB: foursB } = neighbours(problem, 4)
  const element = (name: 'a' | 'b', fours: boolean) => (fours ? `vec4<${dtype(name)(problem)}>` : dtype(name)(problem))
  return {
    ALONG_K_A: alongA,
    ALONG_K_B: alongB,
    FOURS_A: foursA,
    FOURS_B: foursB,
    ElementA: element('a', foursA),
    ElementB: element('b', foursB),
  }
}

/**
 * Whether a matrix can be loaded in aligned groups of neighbours: it is contiguous along a dim, and its size along that dim, its other
 * strides and its offset are multiples of their count.
 */
function comesInGroups(count: number, step: number, size: number, pitch: number, view: readonly number[]): boolean {
  return step === 1 && [size, pitch, ...view].every((value) => value % count === 0)
}

/**
 * The number of tiles that fills a GPU. With fewer large tiles the small ones are taken. Large tiles spend less beside multiplying (RDNA 3, by
 * its compiler: 91 against 80 multiply-adds of 100 issues, and 4 against 8 other instructions a matrix product), but 128 of them are 1,024
 * waves, five for each SIMD of its largest GPU, which holds 12 to 14 of them; with fewer, latency shows.
 */
const FILLS = 128

/** Names the variant to take on a GPU of two that differ in the size of their tiles, or undefined where neither runs the problem. */
export function chooseTiles(
  device: Capabilities,
  problem: Matmul,
  { small, large }: { small: Variant<Matmul>; large: Variant<Matmul> },
): string | undefined {
  const [fitsSmall, fitsLarge] = [small, large].map((variant) => variant.supports!(device, problem))
  const [x, y] = large.grid(problem, {})
  if (fitsLarge && (!fitsSmall || x * y >= FILLS)) return large.name
  return fitsSmall ? small.name : undefined
}
