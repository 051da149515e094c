import type { KernelSpec } from '../../kernels/spec.ts'
import { isVirtual, type VirtualBuffer } from '../virtual.ts'
import type { Fork } from './fork.ts'
import type { GraphCommand, GraphDispatch } from './graph.ts'

/** Bytes to which stacked operands are aligned: where a binding may start. */
const ALIGNMENT = 256

/** Buffers that the plan must place side by side, `stride` bytes from one to the next. */
export interface Stack {
  members: readonly VirtualBuffer[]
  stride: number
}

/** Dispatches of different lanes that become one, with what its parameter block says besides that of the first. */
export interface Siblings {
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
  const places = new Map<string, number>()
  let at = 0
  for (const { name, length = 1 } of spec.params) {
    places.set(name, at)
    at += length
  }
  const strides = places.get('strides')
  const layout =
    strides === undefined
      ? undefined
      : {
          strides,
          offsets: spec.bindings.map(({ offset }) => (offset === undefined ? undefined : places.get(offset)!)),
          steps: spec.params.flatMap(({ name, branchStep }) =>
            branchStep === undefined ? [] : [{ word: places.get(name)!, step: places.get(branchStep)! }],
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
 * operands as far from the one's before as everywhere else. Buffers of the graph are stacked to make them so.
 * @param maxBytes of one binding
 */
export function findSiblings(
  commands: readonly GraphCommand[],
  maxBytes: number,
  banned: ReadonlySet<number>,
): { siblings: Siblings[]; stacks: Stack[] } {
  // The j-th dispatch of a signature in one lane belongs to the j-th of that signature in the others.
  const groups = new Map<string, number[]>()
  const seen = new Map<string, number>()
  const forks = new Map<Fork, number>()
  commands.forEach((command, index) => {
    const { lane } = command
    if (command.kind !== 'dispatch' || lane?.fork.mode !== 'coalesced' || banned.has(index)) return
    const layout = layoutOf(command.spec)
    if (!layout) return
    if (!forks.has(lane.fork)) forks.set(lane.fork, forks.size)
    const key = `${forks.get(lane.fork)} ${signature(command, layout)}`
    const inLane = `${lane.index} ${key}`
    const turn = seen.get(inLane) ?? 0
    seen.set(inLane, turn + 1)
    const group = groups.get(`${turn} ${key}`)
    if (group) group.push(index)
    else groups.set(`${turn} ${key}`, [index])
  })
  const stacked = new Map<VirtualBuffer, Stack>()
  const siblings: Siblings[] = []
  for (const members of groups.values()) {
    if (members.length < 2) continue
    members.sort((a, b) => commands[a]!.lane!.index - commands[b]!.lane!.index)
    const words = join(
      members.map((index) => commands[index] as GraphDispatch),
      stacked,
      maxBytes,
    )
    if (words) siblings.push({ members, words })
  }
  return { siblings, stacks: [...new Set(stacked.values())] }
}

/** The parameter block of the joint dispatch, or undefined where operands lie unevenly; enters the stacks it needs. */
function join(
  members: readonly GraphDispatch[],
  stacked: Map<VirtualBuffer, Stack>,
  maxBytes: number,
): Uint32Array<ArrayBuffer> | undefined {
  const [first] = members as [GraphDispatch]
  const layout = layoutOf(first.spec)!
  const words = first.words.slice()
  const wanted: Stack[] = []
  for (let b = 0; b < first.ranges.length; b++) {
    const item = first.itemBytes[b]!
    const word = layout.offsets[b]
    const at = (one: GraphDispatch) => one.ranges[b]!.offset + (word === undefined ? 0 : one.words[word]! * item)
    let stride: number | undefined
    const buffers = members.map((one) => one.ranges[b]!.buffer)
    if (buffers.every((buffer) => buffer === buffers[0])) {
      stride = at(members[1]!) - at(first)
      if (!members.every((one, i) => at(one) === at(first) + i * stride!)) return undefined
      // One branch's result must not be another's.
      if (stride === 0 && first.spec.bindings[b]!.access === 'read_write') return undefined
    } else {
      if (!members.every((one) => at(one) === at(first))) return undefined
      const stack = stackOf(buffers as VirtualBuffer[], stacked, wanted)
      if (!stack || stack.stride * members.length > maxBytes) return undefined
      stride = stack.stride
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

/** The stack of exactly these buffers: one there is already, or a new one where none of them is in any. */
function stackOf(buffers: readonly VirtualBuffer[], stacked: Map<VirtualBuffer, Stack>, wanted: Stack[]): Stack | undefined {
  const [first] = buffers as [VirtualBuffer]
  if (!buffers.every((buffer) => isVirtual(buffer) && buffer.bytes === first.bytes)) return undefined
  const found = stacked.get(first) ?? wanted.find(({ members }) => members[0] === first)
  if (found) {
    const same = found.members.length === buffers.length && found.members.every((member, i) => member === buffers[i])
    return same ? found : undefined
  }
  const taken = (buffer: VirtualBuffer) => stacked.has(buffer) || wanted.some(({ members }) => members.includes(buffer))
  if (new Set(buffers).size < buffers.length || buffers.some(taken)) return undefined
  const stack = { members: buffers, stride: ALIGNMENT * Math.ceil(first.bytes / ALIGNMENT) }
  wanted.push(stack)
  return stack
}
