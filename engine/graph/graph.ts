import type { Grid, KernelSpec } from '../../kernels/spec.ts'
import type { Binding, RefCounted } from '../memory/bindings.ts'
import { isPlanned, PlannedBuffer } from '../memory/deviceBuffer.ts'
import type { Changeable } from '../memory/version.ts'
import type { CompiledKernel } from '../submit/pipelines.ts'
import type { Lane } from './lane.ts'

/** Parameters that change from replay to replay, by name. */
export type UpdateParams = () => object

export interface GraphDispatch {
  kind: 'dispatch'
  kernel: CompiledKernel
  spec: KernelSpec
  /** What the kernel was launched for, for its cost model. */
  problem: unknown
  /** Bytes of one element of each binding. */
  itemBytes: readonly number[]
  bindings: readonly Binding[]
  /** The parameter block. */
  words: Uint32Array<ArrayBuffer>
  grid: Grid
  op: string
  lane: Lane | undefined
  /** Gives the parameters that change, for every later replay. */
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
  data: Uint8Array<ArrayBuffer>
  /** Gives the data of every later replay. */
  updateData?: (() => ArrayBufferView<ArrayBuffer>) | undefined
  lane: Lane | undefined
}

export type GraphCommand = GraphDispatch | GraphCopy | GraphWrite

/**
 * Commands recorded with virtual memory, to be woven, planned and then either run once or replayed. Every intermediate
 * value has a buffer of its own here, so that the order of the commands says nothing but what depends on what.
 */
export class Graph {
  commands: GraphCommand[] = []
  readonly buffers = new Set<PlannedBuffer>()
  /** Memory made outside that the commands use; the graph keeps it. */
  readonly #outside = new Set<RefCounted>()
  /** Of tensors made outside: whether the commands change them. */
  readonly outsiders = new Map<Changeable, boolean>()

  acquire(bytes: number): PlannedBuffer {
    const buffer = new PlannedBuffer(bytes)
    this.buffers.add(buffer)
    return buffer
  }

  /** Says that a command uses, or changes, a tensor made outside. */
  uses(version: Changeable, changes: boolean): void {
    if (changes || !this.outsiders.has(version)) this.outsiders.set(version, changes)
  }

  /** @throws Error for memory that an earlier capture did not return */
  dispatch(command: Omit<GraphDispatch, 'kind'>): void {
    this.commands.push({ kind: 'dispatch', ...command, bindings: command.bindings.map((binding) => this.#known(binding)) })
  }

  /** @throws Error for memory that an earlier capture did not return */
  copy(command: Omit<GraphCopy, 'kind'>): void {
    const [source, target] = [this.#known(command.source), this.#known(command.target)]
    this.commands.push({ kind: 'copy', ...command, source, target })
  }

  /** @throws Error for memory that an earlier capture did not return */
  write(command: Omit<GraphWrite, 'kind'>): void {
    this.commands.push({ kind: 'write', ...command, target: this.#known(command.target) })
  }

  /** Lets go of the memory made outside. */
  dispose(): void {
    for (const storage of this.#outside) storage.release()
    this.#outside.clear()
  }

  /** The binding in memory of this graph, or memory made outside, which must not go before the graph does. */
  #known(binding: Binding): Binding {
    const { buffer, owner, end } = binding
    if (isPlanned(buffer) && this.buffers.has(buffer)) return binding
    // Else it could be let go while the rest is recorded, and become a place in the plan.
    if (owner && !this.#outside.has(owner)) this.#outside.add(owner.retain())
    if (!isPlanned(buffer)) return binding
    if (!buffer.allocation)
      throw new Error('capture: a tensor made in another capture that did not return it is used in this one')
    const { block, offset } = buffer.allocation
    const moved = { ...binding, buffer: block.buffer, offset: binding.offset + offset }
    return end === undefined ? moved : { ...moved, end: end + offset }
  }
}

/** One use of memory by a command: bytes `from` to `to` of a buffer. */
interface Access {
  binding: Binding
  from: number
  to: number
  write: boolean
}

/** What a command reads and writes. */
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

/** Whether a command does something new in every replay. */
export function changesWithReplay(command: GraphCommand): boolean {
  if (command.kind === 'dispatch') return command.updateParams !== undefined
  return command.kind === 'write' && command.updateData !== undefined
}
