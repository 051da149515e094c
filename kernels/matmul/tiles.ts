import type { Capabilities, Constants, Variant } from '../spec.ts'
import { dtype, type Matmul } from './problem.ts'

/** How tiles of A and B are loaded: the dim along which neighbours lie, whether by fours, and the element types of the bindings. */
export function operandLoads(problem: Matmul): Constants {
  const { a, b, m, n, k, aRow, aCol, bRow, bCol } = problem
  const alongA = aCol === 1 || aRow !== 1
  const alongB = bRow === 1 || bCol !== 1
  const foursA = alongA ? comesInFours(aCol, k, aRow, a) : comesInFours(aRow, m, aCol, a)
  const foursB = alongB ? comesInFours(bRow, k, bCol, b) : comesInFours(bCol, n, bRow, b)
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

/** Whether a matrix can be loaded in aligned fours: it is contiguous along a dim, and its size along that dim, its other strides and its offset are multiples of four. */
function comesInFours(step: number, size: number, pitch: number, view: readonly number[]): boolean {
  return step === 1 && size % 4 === 0 && pitch % 4 === 0 && view.every((stride) => stride % 4 === 0)
}

/** The number of tiles that fills a GPU. With fewer large tiles the small ones are taken. */
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
