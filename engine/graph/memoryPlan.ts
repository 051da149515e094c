import { type Block, isPlanned, type PlannedBuffer, type PooledBuffer } from '../memory/deviceBuffer.ts'
import { accessesOf } from './graph.ts'
import type { FusedGraph } from './horizontalFusion.ts'

/** What takes one stretch of memory: a buffer, or a stack of them. */
interface Unit {
  members: readonly PlannedBuffer[]
  bytes: number
  stride: number
  /** Places of the first and last command that uses it. */
  first: number
  last: number
  /** Somebody may still read it when the commands have run. */
  kept: boolean
}

/** Stretches of memory that share one buffer, none used while another is. */
interface Slot {
  bytes: number
  units: Unit[]
}

/** What planning needs to know besides the commands. */
interface PlanOptions {
  /** All buffers of the graph. */
  buffers: Iterable<PlannedBuffer>
  /** Those that keep their values from run to run. */
  constants: ReadonlySet<PlannedBuffer>
  /** Gives memory for the blocks of intermediate values, largest first. */
  takeScratch(sizes: readonly number[]): PooledBuffer[]
  /** Gives memory that outlives a run. */
  takeKept(bytes: number): PooledBuffer
}

interface MemoryPlan {
  /** What is alive at once in the busiest command, in bytes: no plan needs less. */
  bound: number
  /** Bytes of all blocks. */
  bytes: number
  /** Blocks of intermediate values, free between runs. */
  scratch: Block[]
  /** Blocks of what outlives a run. */
  kept: Block[]
}

/**
 * Gives every buffer of a woven graph its place. Intermediate values share blocks where their lifetimes, from first to last
 * use, do not meet: largest first, each into the block that fits it closest (greedy by size: Pisarchyk and Lee,
 * arXiv 2001.03288). A block is never read and written by one command under two names.
 */
export function planMemory(
  { commands, stacks }: FusedGraph,
  { buffers, constants, takeScratch, takeKept }: PlanOptions,
): MemoryPlan {
  const units = lifetimes({ commands, stacks }, buffers, constants)
  const slots: Slot[] = []
  const passing = units.filter(({ kept }) => !kept).sort((a, b) => b.bytes - a.bytes || a.first - b.first)
  for (const unit of passing) {
    // All slots are at least as large as the unit; the one whose neighbour in time is closest keeps the rest whole.
    let best: Slot | undefined
    let closest = Number.POSITIVE_INFINITY
    for (const slot of slots) {
      const gap = gapTo(slot, unit)
      if (gap < closest) [best, closest] = [slot, gap]
    }
    if (best) best.units.push(unit)
    else slots.push({ bytes: unit.bytes, units: [unit] })
  }
  const memory = takeScratch(slots.map(({ bytes }) => bytes))
  const scratch = slots.map((slot, i) => placeAll(slot.units, memory[i]!))
  const kept = units.filter((unit) => unit.kept).map((unit) => placeAll([unit], takeKept(unit.bytes)))
  const bytes = [...scratch, ...kept].reduce((sum, { buffer }) => sum + buffer.bytes, 0)
  return { bound: busiest(units, commands.length), bytes, scratch, kept }
}

function lifetimes(
  { commands, stacks }: Pick<FusedGraph, 'commands' | 'stacks'>,
  buffers: Iterable<PlannedBuffer>,
  constants: ReadonlySet<PlannedBuffer>,
): Unit[] {
  const unitOf = new Map<PlannedBuffer, Unit>()
  const alone = (buffer: PlannedBuffer, place: number): Unit => {
    const unit = { members: [buffer], stride: 0, bytes: buffer.bytes, first: place, last: place, kept: false }
    unitOf.set(buffer, unit)
    return unit
  }
  for (const { members, stride } of stacks) {
    const unit = { members, stride, bytes: stride * members.length, first: Number.POSITIVE_INFINITY, last: -1, kept: false }
    for (const member of members) unitOf.set(member, unit)
  }
  commands.forEach((command, place) => {
    for (const { binding } of accessesOf(command)) {
      const { buffer } = binding
      if (!isPlanned(buffer)) continue
      const unit = unitOf.get(buffer) ?? alone(buffer, place)
      unit.first = Math.min(unit.first, place)
      unit.last = Math.max(unit.last, place)
    }
  })
  // What no command uses may be used later, or be written before the commands run.
  for (const buffer of buffers) if ((!buffer.released || constants.has(buffer)) && !unitOf.has(buffer)) alone(buffer, 0)
  const units = [...new Set(unitOf.values())]
  for (const unit of units) unit.kept = unit.members.some((one) => !one.released || constants.has(one))
  return units
}

/** Commands between the unit and its nearest neighbour in time in the slot; infinite where their lifetimes meet. */
function gapTo(slot: Slot, unit: Unit): number {
  let gap = Number.MAX_SAFE_INTEGER
  for (const other of slot.units) {
    if (other.first <= unit.last && unit.first <= other.last) return Number.POSITIVE_INFINITY
    gap = Math.min(gap, other.first > unit.last ? other.first - unit.last : unit.first - other.last)
  }
  return gap
}

function placeAll(units: readonly Unit[], buffer: PooledBuffer): Block {
  const block: Block = { buffer, users: 0 }
  for (const { members, stride } of units) {
    members.forEach((member, i) => {
      member.allocation = { block, offset: i * stride }
      if (!member.released) block.users++
    })
  }
  return block
}

/** The largest sum of bytes in use at one command. */
function busiest(units: readonly Unit[], commands: number): number {
  const change = new Float64Array(commands + 1)
  for (const { first, last, bytes, kept } of units) {
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
