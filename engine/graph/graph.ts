import type { Grid, KernelSpec } from '../../kernels/spec.ts'
import type { BufferRange } from '../device.ts'
import type { CompiledKernel } from '../pipelines.ts'
import type { Storage } from '../storage.ts'
import { isVirtual, VirtualBuffer } from '../virtual.ts'
import type { Lane } from './fork.ts'

/** Parameters that change from replay to replay, by name. */
export type Refresh = () => object

export interface GraphDispatch {
  kind: 'dispatch'
  kernel: CompiledKernel
  spec: KernelSpec
  /** Bytes of one element of each binding. */
  itemBytes: readonly number[]
  ranges: readonly BufferRange[]
  /** The parameter block. */
  words: Uint32Array<ArrayBuffer>
  grid: Grid
  op: string
  lane: Lane | undefined
  refresh?: Refresh | undefined
}

export interface GraphCopy {
  kind: 'copy'
  source: BufferRange
  target: BufferRange
  bytes: number
  lane: Lane | undefined
}

export interface GraphWrite {
  kind: 'write'
  target: BufferRange
  data: Uint8Array<ArrayBuffer>
  /** Gives the data of every later replay. */
  refresh?: (() => ArrayBufferView<ArrayBuffer>) | undefined
  lane: Lane | undefined
}

export type GraphCommand = GraphDispatch | GraphCopy | GraphWrite

/**
 * Commands recorded with virtual memory, to be woven, planned and then either run once or replayed. Every intermediate
 * value has a buffer of its own here, so that the order of the commands says nothing but what depends on what.
 */
export class Graph {
  readonly commands: GraphCommand[] = []
  readonly buffers = new Set<VirtualBuffer>()
  /** Memory made outside that the commands use. */
  readonly outside = new Set<Storage>()

  acquire(bytes: number): VirtualBuffer {
    const buffer = new VirtualBuffer(bytes)
    this.buffers.add(buffer)
    return buffer
  }

  record(command: GraphCommand): void {
    for (const { buffer, owner } of rangesOf(command)) {
      if (isVirtual(buffer) && !this.buffers.has(buffer)) {
        throw new Error('capture: a tensor of another capture that did not return it cannot be used here')
      }
      if (owner && !isVirtual(buffer)) this.outside.add(owner)
    }
    this.commands.push(command)
  }
}

function rangesOf(command: GraphCommand): readonly BufferRange[] {
  if (command.kind === 'dispatch') return command.ranges
  return command.kind === 'copy' ? [command.source, command.target] : [command.target]
}

/** One use of memory by a command: bytes `from` to `to` of a buffer. */
export interface Access {
  range: BufferRange
  from: number
  to: number
  write: boolean
}

/** What a command reads and writes. */
export function accessesOf(command: GraphCommand): Access[] {
  if (command.kind === 'dispatch') {
    return command.ranges.map((range, i) => ({
      range,
      from: range.offset,
      to: range.end ?? Number.POSITIVE_INFINITY,
      write: command.spec.bindings[i]!.access === 'read_write',
    }))
  }
  const bytes = command.kind === 'copy' ? command.bytes : command.data.byteLength
  const part = (range: BufferRange, write: boolean): Access => ({
    range,
    from: range.offset,
    to: range.offset + bytes,
    write,
  })
  if (command.kind === 'write') return [part(command.target, true)]
  return [part(command.source, false), part(command.target, true)]
}
