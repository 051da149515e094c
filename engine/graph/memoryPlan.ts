import { type Block, isPlanned, type PlannedBuffer, type PooledBuffer } from '../memory/deviceBuffer.ts'
import { accessesOf } from './graph.ts'
import type { FusedGraph } from './horizontalFusion.ts'

/** One piece of memory with its lifetime: a buffer, or a stack of them. */
interface LiveRange {
  members: readonly PlannedBuffer[]
  bytes: number
  /** The bytes from the start of one member of a stack to that of the next. */
  stride: number
  /** Indices of the first and the last command that uses the memory. */
  first: number
  last: number
  /** Whether its content outlives a run. */
  kept: boolean
}

/** Live ranges that share one block, because their lifetimes do not overlap. */
interface SharedBlock {
  bytes: number
  ranges: LiveRange[]
}

interface PlanOptions {
  /** All buffers of the graph. */
  buffers: Iterable<PlannedBuffer>
  /** Buffers that keep their content from run to run. */
  constants: ReadonlySet<PlannedBuffer>
  /** Allocates the blocks of intermediate values, whose sizes are sorted, largest first. */
  takeScratch(sizes: readonly number[]): PooledBuffer[]
  /** Allocates memory that outlives a run. */
  takeKept(bytes: number): PooledBuffer
}

interface MemoryPlan {
  /** The largest number of bytes alive at one command: no plan needs fewer. */
  bound: number
  /** Bytes of all blocks. */
  bytes: number
  /** Blocks of intermediate values, free between runs. */
  scratch: Block[]
  /** Blocks of values that outlive a run. */
  kept: Block[]
}

/**
 * Allocates the buffers of a fused graph. Intermediate values share a block where their lifetimes, from first to last use, do not overlap.
 * They are taken largest first, and each goes where its neighbours in time are closest (greedy by size: Pisarchyk and Lee,
 * arXiv 2001.03288). Buffers that one command uses never share a block, because their lifetimes overlap.
 */
export function planMemory(graph: FusedGraph, { buffers, constants, takeScratch, takeKept }: PlanOptions): MemoryPlan {
  const ranges = liveRanges(graph, buffers, constants)
  const shared: SharedBlock[] = []
  const intermediate = ranges.filter(({ kept }) => !kept).sort((a, b) => b.bytes - a.bytes || a.first - b.first)
  for (const range of intermediate) {
    // Every block so far is at least as large as the range, since large ranges come first. The range goes where its neighbours in time are
    // closest, so that long gaps in other blocks stay whole.
    let best: SharedBlock | undefined
    let closest = Number.POSITIVE_INFINITY
    for (const block of shared) {
      const gap = gapTo(block, range)
      if (gap < closest) [best, closest] = [block, gap]
    }
    if (best) best.ranges.push(range)
    else shared.push({ bytes: range.bytes, ranges: [range] })
  }
  const memory = takeScratch(shared.map(({ bytes }) => bytes))
  const scratch = shared.map((block, i) => allocate(block.ranges, memory[i]!))
  const kept = ranges.filter((range) => range.kept).map((range) => allocate([range], takeKept(range.bytes)))
  const bytes = [...scratch, ...kept].reduce((sum, { buffer }) => sum + buffer.bytes, 0)
  return { bound: peakBytes(ranges, graph.commands.length), bytes, scratch, kept }
}

function liveRanges(
  { commands, stacks }: FusedGraph,
  buffers: Iterable<PlannedBuffer>,
  constants: ReadonlySet<PlannedBuffer>,
): LiveRange[] {
  const rangeOf = new Map<PlannedBuffer, LiveRange>()
  const single = (buffer: PlannedBuffer, index: number): LiveRange => {
    const range = { members: [buffer], stride: 0, bytes: buffer.bytes, first: index, last: index, kept: false }
    rangeOf.set(buffer, range)
    return range
  }
  for (const { members, stride } of stacks) {
    const range = { members, stride, bytes: stride * members.length, first: Number.POSITIVE_INFINITY, last: -1, kept: false }
    for (const member of members) rangeOf.set(member, range)
  }
  commands.forEach((command, index) => {
    for (const { binding } of accessesOf(command)) {
      const { buffer } = binding
      if (!isPlanned(buffer)) continue
      const range = rangeOf.get(buffer) ?? single(buffer, index)
      range.first = Math.min(range.first, index)
      range.last = Math.max(range.last, index)
    }
  })
  // A buffer that no command uses may be used after the run, or be written before it.
  for (const buffer of buffers) if ((!buffer.released || constants.has(buffer)) && !rangeOf.has(buffer)) single(buffer, 0)
  const ranges = [...new Set(rangeOf.values())]
  for (const range of ranges) range.kept = range.members.some((buffer) => !buffer.released || constants.has(buffer))
  return ranges
}

/** Returns the number of commands between a range and the range of a block that is nearest in time; infinity where lifetimes overlap. */
function gapTo(block: SharedBlock, range: LiveRange): number {
  let gap = Number.MAX_SAFE_INTEGER
  for (const other of block.ranges) {
    if (other.first <= range.last && range.first <= other.last) return Number.POSITIVE_INFINITY
    gap = Math.min(gap, other.first > range.last ? other.first - range.last : range.first - other.last)
  }
  return gap
}

function allocate(ranges: readonly LiveRange[], buffer: PooledBuffer): Block {
  const block: Block = { buffer, users: 0 }
  for (const { members, stride } of ranges) {
    members.forEach((member, i) => {
      member.allocation = { block, offset: i * stride }
      if (!member.released) block.users++
    })
  }
  return block
}

/** Returns the largest sum of bytes alive at one command. */
function peakBytes(ranges: readonly LiveRange[], commands: number): number {
  const change = new Float64Array(commands + 1)
  for (const { first, last, bytes, kept } of ranges) {
    change[kept ? 0 : first]! += bytes
    if (!kept) change[last + 1]! -= bytes
  }
  let [alive, most] = [0, 0]
  for (const step of change) {
    alive += step
    most = Math.max(most, alive)
  }
  return most
}
