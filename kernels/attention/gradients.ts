// All gradients of attention in one kernel, for software devices.
import { branchStrides, type Capabilities, ceilDiv, grid1d, type KernelSpec, type Param, scalars, writes } from '../spec.ts'
import type { KeyValueGradientProblem, QueryGradientProblem } from './attention.ts'
import subgroup from './gradients.wgsl'
import broadcast from './gradientsBroadcast.wgsl'
import { hasOptions } from './options.ts'
import { fitsOwned, ownedConstants } from './owned.ts'
import ownedQueries from './ownedQueries.wgsl'
import type { AttentionShape, RowView } from './shape.ts'
import { broadcastConstants, fitsBroadcast, operandBytes, operands, productFlops, roomFor } from './variants.ts'

/** The gradients dq, dk and dv are all in the buffer at the binding `gradients`. */
export type GradientsProblem = QueryGradientProblem & KeyValueGradientProblem

/** The longest chain of additions. Its rounding error is at most 1e-6. */
const CHAIN = 48
/** A workgroup computes a head, so fewer heads leave cores idle. */
const ENOUGH_HEADS = 8
/** With fewer queries than this, loading keys and values takes longer than computing their scores once instead of twice. */
const ENOUGH_QUERIES = 32

/** The keys of a block: for each lane `SETS` sets of `ROWS`. */
function blockOf({ keys }: AttentionShape, { subgroupMaxSize: lanes, gathersPrivate }: Capabilities) {
  // Two sets take all of a lane's registers on SwiftShader, where a load costs most. On lavapipe one set of 4 fills the first
  // cache of a core (32 KiB with 8 lanes): two take 1.5 times as long.
  const sets = gathersPrivate && keys > 4 * lanes ? 2 : 1
  // A block costs about as much as four rows more than it has.
  const cost = (rows: number) => ceilDiv(keys, lanes * sets * rows) * (4 + sets * rows)
  const rows = [2, 3, 4].reduce((best, candidate) => (cost(candidate) <= cost(best) ? candidate : best))
  return { sets, rows, lanes }
}

function supports(device: Capabilities, problem: AttentionShape): boolean {
  const { subgroupMinSize, subgroupMaxSize } = device
  const { dtype, queries, keys, width } = problem
  const { sets, rows, lanes } = blockOf(problem, device)
  // All lanes of a workgroup are one subgroup. Gradients of queries are added up in memory, which float16 would round.
  const fits = subgroupMinSize >= 4 && subgroupMinSize === subgroupMaxSize && subgroupMaxSize <= 32 && width <= 128
  const precise = queries <= CHAIN ** 2 && ceilDiv(keys, lanes * sets * rows) <= CHAIN
  return fits && precise && dtype === undefined && !hasOptions(problem)
}

/** Whether a device runs the variant for rows that lie in aligned fours. */
function runsBroadcast(device: Capabilities, problem: GradientsProblem): boolean {
  return fitsBroadcast(device, problem, viewsOf(problem))
}

function runsOwned(device: Capabilities, problem: GradientsProblem): boolean {
  return fitsOwned(device, problem, problem.queries, viewsOf(problem))
}

function viewsOf({ q, k, v, out, dOut, dq, dk, dv }: GradientsProblem): RowView[] {
  return [q, k, v, out, dOut, dq, dk, dv]
}

/**
 * dq [B, H, Tq, Dh], dk and dv [B, H, Tk, Dh], the gradients of attention, from q, out and dOut [B, H, Tq, Dh], k and v [B, H, Tk, Dh],
 * and from lse [B, H, Tq] of `attention` (FlashAttention, 2205.14135). They are in one buffer. The kernel also writes
 * delta [B, H, Tq], the row sums of dOut * out. It has no options, and no variant for devices with subgroups of several sizes, or none:
 * `fusesGradients` tells whether to launch it.
 */
export const attentionGradients: KernelSpec<GradientsProblem> = {
  name: 'attentionGradients',
  bindings: [
    ...operands('read', 'q', 'k', 'v', 'out', 'dOut'),
    ...writes('f32', 'statistics'),
    { name: 'gradients', access: 'read_write', dtype: 'f32' },
  ],
  params: [
    branchStrides(7),
    ...['q', 'k', 'v', 'out', 'dOut', 'dq', 'dk', 'dv'].map((name): Param => ({ name, type: 'u32', length: 4 })),
    ...scalars('u32', 'batch', 'heads', 'queries', 'keys', 'width'),
    ...scalars('f32', 'scale'),
  ],
  partial: true,
  variants: [
    {
      name: 'subgroup',
      source: subgroup,
      supports,
      constants(problem, device) {
        const { sets, rows, lanes } = blockOf(problem, device)
        return {
          LANES: lanes,
          NARROW: lanes < 8,
          ROWS: rows,
          Rows: `vec${rows}<f32>`,
          SETS: sets,
          WIDTH: roomFor(problem),
          PADDED: problem.width % 16 !== 0,
          ...(problem.queries > CHAIN && { LONG: true }),
        }
      },
      grid: ({ batch, heads }) => grid1d(batch * heads),
    },
    {
      name: 'broadcast',
      source: broadcast,
      supports: (device, problem) => supports(device, problem) && runsBroadcast(device, problem),
      constants: (problem, device) => broadcastConstants(problem, problem.keys, device),
      grid: ({ batch, heads }) => grid1d(batch * heads),
    },
    {
      name: 'ownedQueries',
      source: ownedQueries,
      supports: (device, problem) => supports(device, problem) && runsOwned(device, problem),
      constants: (problem) => ownedConstants(problem.queries, problem),
      grid: ({ batch, heads }) => grid1d(batch * heads),
    },
  ],
  // On lavapipe `broadcast` takes 0.8 of the time at B4 H4 T256 D64 and B8 H3 T197 D64, and 1.25 at B64 H4 T65 D32, where a row is one four
  // a lane. On SwiftShader, whose broadcasts are slow, it takes 1.1 to 1.4, and `ownedQueries` 0.5 to 0.85.
  choose(device, problem) {
    if (runsOwned(device, problem)) return 'ownedQueries'
    const pays = !device.gathersPrivate && problem.width > 32
    return pays && runsBroadcast(device, problem) ? 'broadcast' : 'subgroup'
  },
  shapeClass: ({ batch, heads, queries, keys, width }) => [batch, heads, queries, keys, width],
  flops: productFlops(5),
  bytes: operandBytes(4, 4),
}

/** Whether one kernel computes all gradients of attention on a device, faster than one for the queries and one for keys and values. */
export function fusesGradients(device: Capabilities, problem: AttentionShape): boolean {
  const { batch, heads, queries, keys } = problem
  const enough = batch * heads >= ENOUGH_HEADS && Math.min(queries, keys) >= ENOUGH_QUERIES
  return device.software && enough && supports(device, problem)
}
