import type { Grid, KernelSpec } from '../../kernels/spec.ts'
import type { Binding, RefCounted } from '../memory/bindings.ts'
import { isPlanned, PlannedBuffer } from '../memory/deviceBuffer.ts'
import type { Changeable } from '../memory/version.ts'
import type { CompiledKernel } from '../submit/pipelines.ts'
import type { Bytes } from '../submit/stream.ts'
import type { Lane } from './lane.ts'

/** Gives the parameters that change from replay to replay, by name. */
export type UpdateParams = () => object

/** Gives the data of every replay. */
export type UpdateData = () => ArrayBufferView<ArrayBuffer>

export interface GraphDispatch {
  kind: 'dispatch'
  kernel: CompiledKernel
  spec: KernelSpec
  /** The problem that the kernel solves, for its cost model. */
  problem: unknown
  /** Bytes of one element of each binding. */
  itemBytes: readonly number[]
  bindings: readonly Binding[]
  /** The kernel's parameter block, in 4-byte words. */
  words: Uint32Array<ArrayBuffer>
  grid: Grid
  op: string
  lane: Lane | undefined
  /** Gives the parameters that change, before every replay. */
  updateParams?: UpdateParams | undefined
}

interface GraphCopy {
  kind: 'copy'
  source: Binding
  target: Binding
  bytes: number
  lane: Lane | undefined
}

export interface GraphWrite {
  kind: 'write'
  target: Binding
  data: Bytes
  updateData?: UpdateData | undefined
  lane: Lane | undefined
}

export type GraphCommand = GraphDispatch | GraphCopy | GraphWrite

/**
 * Captured commands on planned memory. Every intermediate value has a buffer of its own, so that commands depend on each other through
 * values alone, and passes may reorder, fuse and leave out what values allow.
 */
export class Graph {
  commands: GraphCommand[] = []
  readonly buffers = new Set<PlannedBuffer>()
  /** The memory from outside the capture that the commands use. The graph keeps it alive. */
  readonly #outside = new Set<RefCounted>()
  /** Versions of the tensors made outside that the commands use, with whether they change them. */
  readonly outsiders = new Map<Changeable, boolean>()

  acquire(bytes: number): PlannedBuffer {
    const buffer = new PlannedBuffer(bytes)
    this.buffers.add(buffer)
    return buffer
  }

  /** Notes that a command uses a tensor made outside, and whether it changes it. */
  uses(version: Changeable, changes: boolean): void {
    if (changes || !this.outsiders.has(version)) this.outsiders.set(version, changes)
  }

  /** Adds a command. @throws Error for memory that an earlier capture did not return */
  add(command: GraphCommand): void {
    if (command.kind === 'copy') command.source = this.#resolve(command.source)
    if (command.kind === 'dispatch') command.bindings = command.bindings.map((binding) => this.#resolve(binding))
    else command.target = this.#resolve(command.target)
    this.commands.push(command)
  }

  /** Releases the memory made outside. */
  dispose(): void {
    for (const storage of this.#outside) storage.release()
    this.#outside.clear()
  }

  /** Resolves memory that was made outside this graph, and keeps it as long as the graph lives. @throws Error as `add` does */
  #resolve(binding: Binding): Binding {
    const { buffer, owner, end } = binding
    if (isPlanned(buffer) && this.buffers.has(buffer)) return binding
    // Memory from outside is kept: its owner could release it during the capture, and something else could be allocated there.
    if (owner && !this.#outside.has(owner)) this.#outside.add(owner.retain())
    if (!isPlanned(buffer)) return binding
    if (!buffer.allocation)
      throw new Error('capture: a tensor made in another capture that did not return it is used in this one')
    const { block, offset } = buffer.allocation
    const resolved = { ...binding, buffer: block.buffer, offset: binding.offset + offset }
    return end === undefined ? resolved : { ...resolved, end: end + offset }
  }
}

/** One use of memory by a command: the bytes in [from, to) of a buffer. */
export interface Access {
  binding: Binding
  from: number
  to: number
  write: boolean
}

/** Lists the memory that a command reads and writes. */
export function accessesOf(command: GraphCommand): Access[] {
  if (command.kind === 'dispatch') {
    return command.bindings.map((binding, i) => ({
      binding,
      from: binding.offset,
      to: binding.end ?? Number.POSITIVE_INFINITY,
      write: command.spec.bindings[i]!.access === 'read_write',
    }))
  }
  const bytes = command.kind === 'copy' ? command.bytes : command.data.byteLength
  const part = (binding: Binding, write: boolean): Access => ({
    binding,
    from: binding.offset,
    to: binding.offset + bytes,
    write,
  })
  if (command.kind === 'write') return [part(command.target, true)]
  return [part(command.source, false), part(command.target, true)]
}

/** Whether a command has new parameters or data in every replay. */
export function changesWithReplay(command: GraphCommand): boolean {
  if (command.kind === 'dispatch') return command.updateParams !== undefined
  return command.kind === 'write' && command.updateData !== undefined
}
