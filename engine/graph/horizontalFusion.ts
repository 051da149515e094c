import TinyQueue from 'tinyqueue'
import { type FusionGroup, findFusionGroups, type Stack } from './fusionGroups.ts'
import type { GraphCommand, GraphDispatch } from './graph.ts'
import { dependencies } from './hazards.ts'

/** A dispatch of a fused graph: a captured one, or the fusion of several. */
interface FusedDispatch extends GraphDispatch {
  /** Names of the streams that the dispatch belongs to. */
  streams: readonly string[]
}

export type FusedCommand = FusedDispatch | Exclude<GraphCommand, GraphDispatch>

/** A graph after horizontal fusion, in an order that keeps all dependencies. */
export interface FusedGraph {
  commands: FusedCommand[]
  stacks: Stack[]
  /**
   * For each captured command, the index of the fused command that does its work, and whether it leads: the fused command has the parameters
   * of the member that leads.
   */
  fusedInto: { index: number; leads: boolean }[]
}

/**
 * Fuses matching dispatches of a fork's lanes, and orders all commands: a fused dispatch runs when all of its members can, everything else in
 * captured order as early as it can.
 * @param maxBytes the most bytes of one binding
 */
export function fuseHorizontally(commands: readonly GraphCommand[], maxBytes: number): FusedGraph {
  const before = dependencies(commands)
  const excluded = new Set<number>()
  for (;;) {
    const { groups, stacks } = findFusionGroups(commands, before, maxBytes, excluded)
    const nodes = nodesOf(commands.length, groups)
    const { order, waiting } = schedule(nodes, before)
    // Groups that match crosswise depend on each other. The members of one such group are then not fused.
    if (waiting) {
      for (const index of waiting) excluded.add(index)
      continue
    }
    const fusedInto: FusedGraph['fusedInto'] = new Array(commands.length)
    order.forEach(({ members }, index) => {
      members.forEach((member, i) => {
        fusedInto[member] = { index, leads: i === 0 }
      })
    })
    return { commands: order.map((node) => fuse(node, commands)), stacks, fusedInto }
  }
}

/** A fusion group, or a single command, whose `words` are undefined. */
interface Node extends Pick<FusionGroup, 'members'> {
  words?: FusionGroup['words']
}

function nodesOf(count: number, groups: readonly FusionGroup[]): Node[] {
  const inGroup = new Set(groups.flatMap(({ members }) => members))
  const single = Array.from({ length: count }, (_, index) => ({ members: [index] })).filter(
    ({ members }) => !inGroup.has(members[0]!),
  )
  const earliest = ({ members }: Node) => Math.min(...members)
  return [...groups, ...single].sort((a, b) => earliest(a) - earliest(b))
}

/**
 * Orders the nodes by their dependencies.
 * @returns the order, and where dependencies form a cycle, the members of a group that cannot run because of it
 */
function schedule(
  nodes: readonly Node[],
  before: readonly (readonly number[])[],
): { order: Node[]; waiting?: readonly number[] } {
  const nodeOf: number[] = []
  nodes.forEach(({ members }, n) => {
    for (const index of members) nodeOf[index] = n
  })
  const after: number[][] = nodes.map(() => [])
  const missing = nodes.map(({ members }, n) => {
    const earlier = new Set(members.flatMap((index) => before[index]!.map((other) => nodeOf[other]!)))
    for (const other of earlier) after[other]!.push(n)
    return earlier.size
  })
  // Nodes are numbered in captured order, and the lowest number that is ready comes first.
  const ready = new TinyQueue<number>()
  missing.forEach((count, n) => {
    if (count === 0) ready.push(n)
  })
  const order: Node[] = []
  for (let n = ready.pop(); n !== undefined; n = ready.pop()) {
    order.push(nodes[n]!)
    missing[n] = -1
    for (const next of after[n]!) if (--missing[next]! === 0) ready.push(next)
  }
  if (order.length === nodes.length) return { order }
  return { order, waiting: nodes.find(({ members }, n) => missing[n]! > 0 && members.length > 1)!.members }
}

function fuse({ members, words }: Node, commands: readonly GraphCommand[]): FusedCommand {
  const first = commands[members[0]!]!
  if (first.kind !== 'dispatch') return first
  const streams = [...new Set(members.map((index) => commands[index]!.lane?.name ?? 'main'))]
  if (!words) return { ...first, streams }
  const [x, y] = first.grid
  const last = commands[members.at(-1)!] as GraphDispatch
  // A binding of the fused dispatch starts where the first member's does and ends where the last member's does.
  const bindings = first.bindings.map((binding, b) => {
    const other = last.bindings[b]!
    return binding.buffer === other.buffer ? { ...other, offset: binding.offset } : binding
  })
  return { ...first, words, bindings, grid: [x, y, members.length], streams }
}
