import type { Flow, Loop } from './flow.ts'
import type { Listing } from './listing.ts'
import { CACHE_BYTES, LDS_BYTES, LDS_LATENCY, type Machine, MEMORY_LATENCY, SIMD_LANES, SIMDS, SLOW_RATE } from './machine.ts'
import { addMix, type Mix, noMix } from './mix.ts'

/** The work of a dispatch. */
export interface Work {
  workgroups: number
  /** Invocations of a workgroup. */
  invocations: number
  /** Floating-point operations, a multiply-add counting two; 0 where they are not known. */
  flops: number
  /** Bytes that cross the memory bus at least once. */
  bytes: number
}

/** Resources that can bound a dispatch. */
export type Bound = 'memory' | 'vector' | 'functions' | 'scalar' | 'lds' | 'cache' | 'latency'

/** An estimate of a dispatch's time. */
export interface Estimate {
  microseconds: number
  bound: Bound
  /** Microseconds that each resource is busy, and that a wave takes which waits by itself. */
  busy: Record<Bound, number>
}

/**
 * Estimates the time of a dispatch as the largest of these, each from the machine's rates: the bytes of its bindings at the bandwidth of the memory;
 * the vector, function, scalar, workgroup-memory and cache cycles of the waves of the busiest compute unit; and those waves one after
 * the other, as many at a time as a SIMD keeps, when each waits for its loads. How often a loop runs is read from the code, or follows from the
 * work: the outermost loop around the multiply-adds executes all of them, and any other one of unknown length with loads or stores reads
 * or writes every byte once. Bank conflicts, scattered addresses, launches and the filling of the caches cost nothing here.
 */
export function estimate(listing: Listing, flow: Flow, hot: Loop | undefined, work: Work, machine: Machine): Estimate {
  const { lanes } = listing
  const mix = executed(flow, hot, work, lanes)
  const passes = lanes / SIMD_LANES
  const { computeUnits, dualIssue, matrixCycles } = machine
  const ordinary = mix.valu - mix.matrix - mix.slow - mix.functions
  const fast = dualIssue && lanes === 64 ? mix.fast : 0
  const vector =
    fast + (ordinary - fast) * passes + mix.slow * SLOW_RATE * passes + mix.functions * passes + mix.matrix * matrixCycles
  const functions = mix.functions * SLOW_RATE * passes
  const memoryBytes = (mix.loadBytes + mix.storeBytes + mix.scratchBytes) * lanes
  const lds = Math.max(mix.lds, (mix.ldsBytes * lanes) / LDS_BYTES)
  const cache = Math.max(mix.loads + mix.stores + mix.scratch, memoryBytes / CACHE_BYTES)
  // Cycles of one wave that has the compute unit to itself.
  const alone = vector + functions + mix.scalar + lds + cache + mix.waits * MEMORY_LATENCY + mix.ldsWaits * LDS_LATENCY
  const wavesOfGroup = Math.ceil(work.invocations / lanes)
  const groups =
    wavesOfGroup === 1 ? Math.ceil(work.workgroups / (SIMDS * computeUnits)) : Math.ceil(work.workgroups / computeUnits)
  const waves = wavesOfGroup === 1 ? groups : (groups * wavesOfGroup) / SIMDS
  const kept = Math.max(1, listing.waves / passes)
  const microseconds = (cycles: number) => cycles / (1000 * machine.ghz)
  const busy: Record<Bound, number> = {
    memory: work.bytes / (1000 * machine.gbps),
    vector: microseconds(waves * vector),
    functions: microseconds(waves * functions),
    scalar: microseconds(waves * mix.scalar),
    lds: microseconds(waves * SIMDS * lds),
    cache: microseconds(waves * SIMDS * cache),
    latency: microseconds(Math.ceil(waves / kept) * alone),
  }
  const bound = (Object.keys(busy) as Bound[]).reduce((most, name) => (busy[name] > busy[most] ? name : most))
  return { microseconds: busy[bound], bound, busy }
}

/** Counts the instructions that a wave executes. */
function executed(flow: Flow, hot: Loop | undefined, work: Work, lanes: number): Mix {
  const threads = work.workgroups * work.invocations
  const trips = new Map<Loop, number>()
  for (const loop of flow.loops) if (loop.trips !== undefined) trips.set(loop, loop.trips)
  const open = (loop: Loop | undefined): Loop | undefined => {
    const outer = loop?.parent && open(loop.parent)
    return outer ?? (loop && !trips.has(loop) ? loop : undefined)
  }
  const outermost = (loop: Loop): Loop => (loop.parent ? outermost(loop.parent) : loop)
  const main = hot && work.flops > 0 ? (open(hot) ?? outermost(hot)) : undefined
  if (main) {
    const inside = total(flow, trips, main)
    // A product of 16 x 16 x 16 matrices belongs to a whole subgroup.
    const matrices = (2 * 16 ** 3 * inside.matrix) / lanes
    const known = trips.get(main)
    // Lengths that the code tells are those of the first workgroup, which may be shorter than others.
    const flops = matrices + (known === undefined ? 2 * inside.fma : inside.flops)
    const needed = flops > 0 ? work.flops / threads / flops : 0
    trips.set(main, Math.max(1, needed, known ?? 1))
  }
  for (const loop of flow.loops) {
    if (trips.has(loop) || open(loop) !== loop) continue
    const { loadBytes, storeBytes } = total(flow, trips, loop)
    const most = Math.max(loadBytes, storeBytes)
    if (most > 0) trips.set(loop, Math.max(1, work.bytes / 2 / threads / most / runsOf(loop, trips)))
  }
  return total(flow, trips)
}

/** Returns how often a loop is begun. */
function runsOf({ parent }: Loop, trips: ReadonlyMap<Loop, number>): number {
  return parent ? (trips.get(parent) ?? 1) * runsOf(parent, trips) : 1
}

/** Adds up the counted blocks of a loop's run, or of the whole shader; loops of unknown length run once. */
function total({ blocks, mixes, loops, counted }: Flow, trips: ReadonlyMap<Loop, number>, within?: Loop): Mix {
  const sum = noMix()
  const [first, last] = within ? [within.first, within.last] : [0, blocks.length - 1]
  for (let i = first; i <= last; i++) {
    if (!counted[i]) continue
    let times = 1
    for (const loop of loops)
      if (loop !== within && contains(loop, i) && !(within && contains(loop, within.first))) times *= trips.get(loop) ?? 1
    addMix(sum, mixes[i]!, times)
  }
  return sum
}

function contains({ first, last }: Loop, i: number): boolean {
  return first <= i && i <= last
}
