// The variants of attention for SwiftShader where rows lie in aligned fours.
import { type Capabilities, type Constants, ceilDiv, grid1d, type Variant } from '../spec.ts'
import { hasOptions } from './options.ts'
import ownedKeys from './ownedKeys.wgsl'
import type { AttentionShape, RowView } from './shape.ts'
import { movesBy, roomFor } from './variants.ts'

/** The size of all subgroups, and of a workgroup. */
const LANES = 4
/** The rows of a set; a lane owns up to four sets. */
const SET = 4
/** Sets times elements of a row beyond which a pipeline compiles for more than three seconds. */
const MOST_PLACES = 256
/** Sets times elements of a row up to which a turn of the forward loop stays in a core's cache of decoded code, which takes 0.7 of the time. */
const CACHED_PLACES = 32
/** The longest chain of additions in memory, one for each block of rows. Its rounding error is at most 1e-6. */
const LONGEST_CHAIN = 48
/** The queries of a workgroup: many, since it loads keys and values for them, but fewer where there are few heads. */
const QUERIES = [256, 64] as const
/** The number of workgroups that gives the cores of a software device enough to share. */
const ENOUGH = 8

/**
 * The sets that a lane owns of a head's rows. More sets make more of each load; fewer leave fewer lanes idle in the last block. A block costs
 * about as much as a set more than it has.
 * @param cached whether a turn of the loop that is small enough is cheaper
 */
function setsFor(rows: number, problem: AttentionShape, cached: boolean): number {
  const room = roomFor(problem)
  const cost = (sets: number) =>
    ceilDiv(rows, LANES * SET * sets) * (1 + sets) * (cached && sets * room <= CACHED_PLACES ? 0.7 : 1)
  return [2, 3, 4]
    .filter((sets) => sets * room <= MOST_PLACES)
    .reduce((best, sets) => (cost(sets) <= cost(best) ? sets : best), 1)
}

/** The constants of a kernel whose lanes own so many rows of a head. */
export function ownedConstants(rows: number, problem: AttentionShape, cached = false): Constants {
  return {
    SETS: setsFor(rows, problem, cached),
    WIDTH: roomFor(problem),
    PADDED: problem.width % 16 !== 0,
  }
}

/** Whether a device runs the kernels whose lanes own so many rows of a head, on operands with such views. */
export function fitsOwned(device: Capabilities, problem: AttentionShape, rows: number, views: readonly RowView[]): boolean {
  const { gathersPrivate, subgroupMinSize: least, subgroupMaxSize: most } = device
  const fits = gathersPrivate && least === LANES && most === LANES && problem.width <= 128
  const precise = ceilDiv(rows, LANES * SET * setsFor(rows, problem, false)) <= LONGEST_CHAIN
  return fits && precise && !problem.dtype && !hasOptions(problem) && movesBy(4, problem, views)
}

/** The queries of a workgroup. */
function queriesFor({ batch, heads, queries }: AttentionShape): number {
  return batch * heads * ceilDiv(queries, QUERIES[0]) >= ENOUGH ? QUERIES[0] : QUERIES[1]
}

/** A problem of the forward kernel. */
type ForwardProblem = AttentionShape & { [name in 'q' | 'k' | 'v' | 'out']: RowView }

/** Whether a device runs `ownedKeys`. */
export function fitsOwnedKeys(device: Capabilities, problem: ForwardProblem): boolean {
  const { q, k, v, out, keys } = problem
  return fitsOwned(device, problem, keys, [q, k, v, out])
}

/** The forward variant whose lanes own keys. */
export const ownedKeysVariant: Variant<ForwardProblem> = {
  name: 'ownedKeys',
  source: ownedKeys,
  supports: fitsOwnedKeys,
  constants: (problem) => ({ ...ownedConstants(problem.keys, problem, true), QUERIES: queriesFor(problem) }),
  grid: ({ batch, heads, queries }, { QUERIES: own }) => grid1d(batch * heads * ceilDiv(queries, Number(own))),
}
