import TinyQueue from 'tinyqueue'
import { type FusionGroup, findFusionGroups, type Stack } from './fusionGroups.ts'
import type { GraphCommand, GraphDispatch } from './graph.ts'
import { dependencies } from './hazards.ts'

/** A dispatch of a woven graph: that of one lane, or of several. */
interface FusedDispatch extends GraphDispatch {
  /** The streams of the dispatches that it stands for. */
  streams: readonly string[]
}

export type FusedCommand = FusedDispatch | Exclude<GraphCommand, GraphDispatch>

/** Commands in an order that keeps what each depends on before it. */
export interface FusedGraph {
  commands: FusedCommand[]
  stacks: Stack[]
  /** For each command of the graph the place of the one that does its work, and whether that one has its parameters. */
  places: { place: number; leads: boolean }[]
}

/**
 * Makes one dispatch of matching dispatches of sibling lanes, and orders all: a joint dispatch comes when all its parts may,
 * everything else as early as it was recorded.
 * @param maxBytes of one binding
 */
export function fuseHorizontally(commands: readonly GraphCommand[], maxBytes: number): FusedGraph {
  const before = dependencies(commands)
  const banned = new Set<number>()
  for (;;) {
    const { groups, stacks } = findFusionGroups(commands, before, maxBytes, banned)
    const nodes = nodesOf(commands.length, groups)
    const { order, stuck } = schedule(nodes, before)
    // Lanes that match crosswise wait for each other: one of the joint dispatches in the way falls apart.
    if (stuck) {
      for (const index of stuck) banned.add(index)
      continue
    }
    const places: FusedGraph['places'] = new Array(commands.length)
    const all = order.map((node, place): FusedCommand => {
      node.members.forEach((index, i) => {
        places[index] = { place, leads: i === 0 }
      })
      return fused(node, commands)
    })
    return { commands: all, stacks, places }
  }
}

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

/** The nodes in order, or the members of a joint one that waits in a circle. */
function schedule(
  nodes: readonly Node[],
  before: readonly (readonly number[])[],
): { order: Node[]; stuck?: readonly number[] } {
  const nodeOf: number[] = []
  nodes.forEach(({ members }, n) => {
    for (const index of members) nodeOf[index] = n
  })
  const after: number[][] = nodes.map(() => [])
  const waiting = nodes.map(({ members }, n) => {
    const earlier = new Set(members.flatMap((index) => before[index]!.map((one) => nodeOf[one]!)))
    for (const one of earlier) after[one]!.push(n)
    return earlier.size
  })
  // Nodes are numbered in recorded order, and of those that may run the first does.
  const ready = new TinyQueue<number>()
  waiting.forEach((count, n) => {
    if (count === 0) ready.push(n)
  })
  const order: Node[] = []
  for (let n = ready.pop(); n !== undefined; n = ready.pop()) {
    order.push(nodes[n]!)
    waiting[n] = -1
    for (const next of after[n]!) if (--waiting[next]! === 0) ready.push(next)
  }
  if (order.length === nodes.length) return { order }
  return { order, stuck: nodes.find(({ members }, n) => waiting[n]! > 0 && members.length > 1)!.members }
}

function fused({ members, words }: Node, commands: readonly GraphCommand[]): FusedCommand {
  const first = commands[members[0]!]!
  if (first.kind !== 'dispatch') return first
  const streams = [...new Set(members.map((index) => commands[index]!.lane?.name ?? 'main'))]
  if (!words) return { ...first, streams }
  const [x, y] = first.grid
  const last = commands[members.at(-1)!] as GraphDispatch
  const bindings = first.bindings.map((binding, b) => {
    const other = last.bindings[b]!
    return binding.buffer === other.buffer ? { ...other, offset: binding.offset } : binding
  })
  return { ...first, words, bindings, grid: [x, y, members.length], streams }
}
