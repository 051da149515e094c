import { type KernelSpec, paramWordsByName } from '../../kernels/spec.ts'
import { getOrMake } from '../base/maps.ts'
import { isPlanned, type PlannedBuffer } from '../memory/deviceBuffer.ts'
import { accessesOf, type GraphCommand, type GraphDispatch } from './graph.ts'
import type { Fork } from './lane.ts'

/** Alignment of stacked operands in bytes: that of the start of a binding. */
const ALIGNMENT = 256

/** Buffers that the memory plan allocates side by side, `stride` bytes from one to the next. */
export interface Stack {
  members: readonly PlannedBuffer[]
  stride: number
}

/** Dispatches to fuse into one, with the parameter block of the fused dispatch. */
export interface FusionGroup {
  /** Indices in the list of commands, in the order in which their operands lie in memory. */
  members: readonly number[]
  words: Uint32Array<ArrayBuffer>
}

/** The words of a kernel's parameter block in which the members of a group may differ. */
interface BlockLayout {
  /** The first word of the strides from branch to branch, one for each binding. */
  strides: number
  /** For each binding, the word that holds its offset; undefined where the kernel takes none. */
  offsets: readonly (number | undefined)[]
  /** The words that grow from branch to branch, each with the word that holds its growth. */
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

/** Makes a key of the kernel, the grid and the parameters that all members of a group have in common. */
function signature({ kernel, spec, words, grid }: GraphDispatch, layout: BlockLayout): string {
  const masked = words.slice()
  masked.fill(0, layout.strides, layout.strides + spec.bindings.length)
  for (const word of layout.offsets) if (word !== undefined) masked[word] = 0
  for (const { word, step } of layout.steps) masked[word] = masked[step] = 0
  return `${kernel.id} ${grid} ${masked}`
}

/**
 * Finds dispatches of coalesced lanes that can be fused: with the same kernel, parameters and grid, and with operands evenly spaced from lane
 * to lane, for which planned buffers are stacked. Outside of lanes, consecutive dispatches can be fused too, such as the copies that
 * gather the results of the lanes.
 * @param earlier for each command the indices of the commands that it depends on
 * @param maxBytes the most bytes of one binding
 * @param excluded indices of commands that must stay by themselves
 */
export function findFusionGroups(
  commands: readonly GraphCommand[],
  earlier: readonly (readonly number[])[],
  maxBytes: number,
  excluded: ReadonlySet<number>,
): { groups: FusionGroup[]; stacks: Stack[] } {
  // The j-th dispatch of a signature in one lane matches the j-th of that signature in the others.
  const matching = new Map<string, number[]>()
  const seen = new Map<string, number>()
  const forks = new Map<Fork, number>()
  const coalesces = ({ lane }: GraphCommand) => lane?.fork.mode === 'coalesced'
  // The lanes of a serial fork only name the branches in traces; nothing is fused across them.
  const laneOf = ({ lane }: GraphCommand) => (lane?.fork.mode === 'serial' ? undefined : lane)
  if (!commands.some(coalesces)) return { groups: [], stacks: [] }
  let before = { index: -2, signature: '', start: -1 }
  commands.forEach((command, index) => {
    const lane = laneOf(command)
    const layout = command.kind === 'dispatch' ? layoutOf(command.spec) : undefined
    if (command.kind !== 'dispatch' || !layout || excluded.has(index) || (lane && !coalesces(command))) return
    const own = signature(command, layout)
    let key: string
    if (lane) {
      const fork = getOrMake(forks, lane.fork, () => forks.size)
      const turn = seen.get(`${lane.index} ${fork} ${own}`) ?? 0
      seen.set(`${lane.index} ${fork} ${own}`, turn + 1)
      key = `${fork} ${turn} ${own}`
    } else {
      const follows = before.index === index - 1 && before.signature === own
      const continues = follows && !earlier[index]!.some((other) => other >= before.start)
      before = { index, signature: own, start: continues ? before.start : index }
      key = `from ${before.start}`
    }
    getOrMake(matching, key, () => []).push(index)
  })
  const stacked = new Map<PlannedBuffer, Stack>()
  const conflicts = conflictsOf(commands)
  const groups: FusionGroup[] = []
  for (const members of matching.values()) {
    if (members.length < 2) continue
    members.sort((a, b) => (laneOf(commands[a]!)?.index ?? a) - (laneOf(commands[b]!)?.index ?? b))
    // Members go in the order of their operands in memory. Outside of lanes this may be the captured order or its reverse.
    const orders = laneOf(commands[members[0]!]!) ? [members] : [members, members.toReversed()]
    for (const order of orders) {
      const dispatches = order.map((index) => commands[index] as GraphDispatch)
      const words = fusedWords(dispatches, stacked, conflicts, maxBytes)
      if (!words) continue
      groups.push({ members: order, words })
      break
    }
  }
  return { groups, stacks: [...new Set(stacked.values())] }
}

/** Lists for each buffer the others that some command uses with it while writing one of the two. Such buffers must not share a stack. */
function conflictsOf(commands: readonly GraphCommand[]): Map<PlannedBuffer, Set<PlannedBuffer>> {
  const conflicts = new Map<PlannedBuffer, Set<PlannedBuffer>>()
  const add = (buffer: PlannedBuffer, other: PlannedBuffer) => getOrMake(conflicts, buffer, () => new Set()).add(other)
  for (const command of commands) {
    const accesses = accessesOf(command)
    for (const { binding, write } of accesses) {
      if (!write || !isPlanned(binding.buffer)) continue
      for (const { binding: other } of accesses) {
        if (!isPlanned(other.buffer) || other.buffer === binding.buffer) continue
        add(binding.buffer, other.buffer)
        add(other.buffer, binding.buffer)
      }
    }
  }
  return conflicts
}

/**
 * Makes the parameter block of a fused dispatch, and adds the stacks that it needs to `stacked`.
 * @returns undefined when the members cannot be fused, for example because their operands are not evenly spaced
 */
function fusedWords(
  members: readonly GraphDispatch[],
  stacked: Map<PlannedBuffer, Stack>,
  conflicts: ReadonlyMap<PlannedBuffer, ReadonlySet<PlannedBuffer>>,
  maxBytes: number,
): Uint32Array<ArrayBuffer> | undefined {
  const [first] = members as [GraphDispatch]
  const layout = layoutOf(first.spec)!
  const words = first.words.slice()
  const wanted: Stack[] = []
  for (let b = 0; b < first.bindings.length; b++) {
    const item = first.itemBytes[b]!
    const word = layout.offsets[b]
    const startOf = ({ bindings, words }: GraphDispatch) => bindings[b]!.offset + (word === undefined ? 0 : words[word]! * item)
    const start = startOf(first)
    let stride: number | undefined
    const buffers = members.map(({ bindings }) => bindings[b]!.buffer)
    if (buffers.every((buffer) => buffer === buffers[0])) {
      stride = startOf(members[1]!) - start
      if (!members.every((member, i) => startOf(member) === start + i * stride!)) return undefined
      // Members must not write to the same place.
      if (stride === 0 && first.spec.bindings[b]!.access === 'read_write') return undefined
    } else {
      if (!members.every((member) => startOf(member) === start)) return undefined
      const found = stackStride(buffers as PlannedBuffer[], stacked, conflicts, wanted)
      if (found === undefined || found * members.length > maxBytes) return undefined
      stride = found
    }
    if (stride < 0 || stride % ALIGNMENT !== 0) return undefined
    words[layout.strides + b] = stride / item
  }
  for (const { word, step } of layout.steps) {
    const growth = members[1]!.words[word]! - first.words[word]!
    if (growth < 0 || !members.every(({ words }, i) => words[word] === first.words[word]! + i * growth)) return undefined
    words[step] = growth
  }
  for (const stack of wanted) for (const member of stack.members) stacked.set(member, stack)
  return words
}

/**
 * Finds the bytes from one buffer to the next, as evenly spaced members of an existing stack, or as members of a new one where none of them
 * is in a stack yet.
 * @param wanted gets the new stack
 * @returns undefined where neither is possible
 */
function stackStride(
  buffers: readonly PlannedBuffer[],
  stacked: ReadonlyMap<PlannedBuffer, Stack>,
  conflicts: ReadonlyMap<PlannedBuffer, ReadonlySet<PlannedBuffer>>,
  wanted: Stack[],
): number | undefined {
  const [first] = buffers as [PlannedBuffer]
  const stackOf = (buffer: PlannedBuffer) => stacked.get(buffer) ?? wanted.find(({ members }) => members.includes(buffer))
  const found = stackOf(first)
  if (found) {
    const indices = buffers.map((buffer) => found.members.indexOf(buffer))
    const step = indices[1]! - indices[0]!
    const even = indices.every((index, i) => index >= 0 && index === indices[0]! + i * step)
    return even ? step * found.stride : undefined
  }
  if (!buffers.every((buffer) => isPlanned(buffer) && buffer.bytes === first.bytes)) return undefined
  if (new Set(buffers).size < buffers.length || buffers.some(stackOf)) return undefined
  if (buffers.some((buffer) => buffers.some((other) => conflicts.get(buffer)?.has(other)))) return undefined
  const stack = { members: buffers, stride: ALIGNMENT * Math.ceil(first.bytes / ALIGNMENT) }
  wanted.push(stack)
  return stack.stride
}
