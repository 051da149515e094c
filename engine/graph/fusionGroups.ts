import { type KernelSpec, paramWordsByName } from '../../kernels/spec.ts'
import { isPlanned, type PlannedBuffer } from '../memory/deviceBuffer.ts'
import { accessesOf, type GraphCommand, type GraphDispatch } from './graph.ts'
import type { Fork } from './lane.ts'

/** Bytes to which stacked operands are aligned: where a binding may start. */
const ALIGNMENT = 256

/** Buffers that the plan must place side by side, `stride` bytes from one to the next. */
export interface Stack {
  members: readonly PlannedBuffer[]
  stride: number
}

/** Dispatches of different lanes that become one, with what its parameter block says besides that of the first. */
export interface FusionGroup {
  /** Places in the list of commands, lane by lane. */
  members: readonly number[]
  words: Uint32Array<ArrayBuffer>
}

/** Where a kernel's parameter block holds what siblings may differ in. */
interface BlockLayout {
  strides: number
  /** For each binding the word of its offset. */
  offsets: readonly (number | undefined)[]
  /** Words that grow from branch to branch, and where the growth goes. */
  steps: readonly { word: number; step: number }[]
}

const layouts = new WeakMap<KernelSpec, BlockLayout | undefined>()

function layoutOf(spec: KernelSpec): BlockLayout | undefined {
  if (layouts.has(spec)) return layouts.get(spec)
  const words = paramWordsByName(spec.params)
  const wordOf = (name: string) => words.get(name)!.word
  const strides = words.get('strides')?.word
  const layout =
    strides === undefined
      ? undefined
      : {
          strides,
          offsets: spec.bindings.map(({ offset }) => (offset === undefined ? undefined : wordOf(offset))),
          steps: spec.params.flatMap(({ name, branchStep }) =>
            branchStep === undefined ? [] : [{ word: wordOf(name), step: wordOf(branchStep) }],
          ),
        }
  layouts.set(spec, layout)
  return layout
}

/** The parameter block without what siblings may differ in, as a key together with the kernel and its grid. */
function signature({ kernel, spec, words, grid }: GraphDispatch, layout: BlockLayout): string {
  const masked = words.slice()
  masked.fill(0, layout.strides, layout.strides + spec.bindings.length)
  for (const word of layout.offsets) if (word !== undefined) masked[word] = 0
  for (const { word, step } of layout.steps) masked[word] = masked[step] = 0
  return `${kernel.id} ${grid} ${masked}`
}

/**
 * Finds what of the lanes of coalesced forks can become one dispatch: the same kernel, parameters and grid, each lane's
 * operands as far from the one's before as everywhere else. Buffers of the graph are stacked to make them so. Where the lanes
 * meet, dispatches that follow each other may become one too, such as the copies that gather their results.
 * @param earlier for each command those it depends on
 * @param maxBytes of one binding
 * @param banned commands that must stay by themselves
 */
export function findFusionGroups(
  commands: readonly GraphCommand[],
  earlier: readonly (readonly number[])[],
  maxBytes: number,
  banned: ReadonlySet<number>,
): { groups: FusionGroup[]; stacks: Stack[] } {
  // The j-th dispatch of a signature in one lane belongs to the j-th of that signature in the others.
  const matching = new Map<string, number[]>()
  const seen = new Map<string, number>()
  const forks = new Map<Fork, number>()
  const coalesces = ({ lane }: GraphCommand) => lane?.fork.mode === 'coalesced'
  // Branches that run one after the other are told apart for traces alone.
  const laneOf = ({ lane }: GraphCommand) => (lane?.fork.mode === 'serial' ? undefined : lane)
  if (!commands.some(coalesces)) return { groups: [], stacks: [] }
  let before = { index: -2, signature: '', start: -1 }
  commands.forEach((command, index) => {
    const lane = laneOf(command)
    const layout = command.kind === 'dispatch' ? layoutOf(command.spec) : undefined
    if (command.kind !== 'dispatch' || !layout || banned.has(index) || (lane && !coalesces(command))) return
    const own = signature(command, layout)
    let key: string
    if (lane) {
      if (!forks.has(lane.fork)) forks.set(lane.fork, forks.size)
      const turn = seen.get(`${lane.index} ${forks.get(lane.fork)} ${own}`) ?? 0
      seen.set(`${lane.index} ${forks.get(lane.fork)} ${own}`, turn + 1)
      key = `${forks.get(lane.fork)} ${turn} ${own}`
    } else {
      const follows = before.index === index - 1 && before.signature === own
      const goesOn = follows && !earlier[index]!.some((one) => one >= before.start)
      before = { index, signature: own, start: goesOn ? before.start : index }
      key = `from ${before.start}`
    }
    const members = matching.get(key)
    if (members) members.push(index)
    else matching.set(key, [index])
  })
  const stacked = new Map<PlannedBuffer, Stack>()
  const apart = keptApart(commands)
  const groups: FusionGroup[] = []
  for (const members of matching.values()) {
    if (members.length < 2) continue
    members.sort((a, b) => (laneOf(commands[a]!)?.index ?? a) - (laneOf(commands[b]!)?.index ?? b))
    // Along the memory: where lanes say no order, either may be it.
    const orders = laneOf(commands[members[0]!]!) ? [members] : [members, members.toReversed()]
    for (const order of orders) {
      const dispatches = order.map((index) => commands[index] as GraphDispatch)
      const words = join(dispatches, stacked, apart, maxBytes)
      if (!words) continue
      groups.push({ members: order, words })
      break
    }
  }
  return { groups, stacks: [...new Set(stacked.values())] }
}

/** For each buffer those that a command uses beside it, one of both to write: they must not become one buffer. */
function keptApart(commands: readonly GraphCommand[]): Map<PlannedBuffer, Set<PlannedBuffer>> {
  const apart = new Map<PlannedBuffer, Set<PlannedBuffer>>()
  const keep = (one: PlannedBuffer, other: PlannedBuffer) => {
    const others = apart.get(one)
    if (others) others.add(other)
    else apart.set(one, new Set([other]))
  }
  for (const command of commands) {
    const accesses = accessesOf(command)
    for (const { binding, write } of accesses) {
      if (!write || !isPlanned(binding.buffer)) continue
      for (const { binding: other } of accesses) {
        if (!isPlanned(other.buffer) || other.buffer === binding.buffer) continue
        keep(binding.buffer, other.buffer)
        keep(other.buffer, binding.buffer)
      }
    }
  }
  return apart
}

/** The parameter block of the joint dispatch, or undefined where operands lie unevenly; enters the stacks it needs. */
function join(
  members: readonly GraphDispatch[],
  stacked: Map<PlannedBuffer, Stack>,
  apart: ReadonlyMap<PlannedBuffer, ReadonlySet<PlannedBuffer>>,
  maxBytes: number,
): Uint32Array<ArrayBuffer> | undefined {
  const [first] = members as [GraphDispatch]
  const layout = layoutOf(first.spec)!
  const words = first.words.slice()
  const wanted: Stack[] = []
  for (let b = 0; b < first.bindings.length; b++) {
    const item = first.itemBytes[b]!
    const word = layout.offsets[b]
    const at = (one: GraphDispatch) => one.bindings[b]!.offset + (word === undefined ? 0 : one.words[word]! * item)
    let stride: number | undefined
    const buffers = members.map((one) => one.bindings[b]!.buffer)
    if (buffers.every((buffer) => buffer === buffers[0])) {
      stride = at(members[1]!) - at(first)
      if (!members.every((one, i) => at(one) === at(first) + i * stride!)) return undefined
      // One branch's result must not be another's.
      if (stride === 0 && first.spec.bindings[b]!.access === 'read_write') return undefined
    } else {
      if (!members.every((one) => at(one) === at(first))) return undefined
      const found = spacing(buffers as PlannedBuffer[], stacked, apart, wanted)
      if (found === undefined || found * members.length > maxBytes) return undefined
      stride = found
    }
    if (stride < 0 || stride % ALIGNMENT !== 0) return undefined
    words[layout.strides + b] = stride / item
  }
  for (const { word, step } of layout.steps) {
    const growth = members[1]!.words[word]! - first.words[word]!
    if (growth < 0 || !members.every((one, i) => one.words[word] === first.words[word]! + i * growth)) return undefined
    words[step] = growth
  }
  for (const stack of wanted) for (const member of stack.members) stacked.set(member, stack)
  return words
}

/**
 * How many bytes the buffers lie apart: as members of a stack there is, evenly spaced, or as a new one where none of them is
 * in any.
 */
function spacing(
  buffers: readonly PlannedBuffer[],
  stacked: ReadonlyMap<PlannedBuffer, Stack>,
  apart: ReadonlyMap<PlannedBuffer, ReadonlySet<PlannedBuffer>>,
  wanted: Stack[],
): number | undefined {
  const [first] = buffers as [PlannedBuffer]
  const stackOf = (buffer: PlannedBuffer) => stacked.get(buffer) ?? wanted.find(({ members }) => members.includes(buffer))
  const found = stackOf(first)
  if (found) {
    const places = buffers.map((buffer) => found.members.indexOf(buffer))
    const step = places[1]! - places[0]!
    const even = places.every((place, i) => place >= 0 && place === places[0]! + i * step)
    return even ? step * found.stride : undefined
  }
  if (!buffers.every((buffer) => isPlanned(buffer) && buffer.bytes === first.bytes)) return undefined
  if (new Set(buffers).size < buffers.length || buffers.some(stackOf)) return undefined
  if (buffers.some((one) => buffers.some((other) => apart.get(one)?.has(other)))) return undefined
  const stack = { members: buffers, stride: ALIGNMENT * Math.ceil(first.bytes / ALIGNMENT) }
  wanted.push(stack)
  return stack.stride
}
