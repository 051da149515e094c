import { paramWordsByName } from '../../kernels/spec.ts'
import { getOrMake } from '../base/maps.ts'
import type { BindGroups } from '../memory/bindGroups.ts'
import { resolve, usesOf } from '../memory/bindings.ts'
import { isPlanned, type PlannedBuffer, type PooledBuffer } from '../memory/deviceBuffer.ts'
import { Encoding } from '../submit/encoding.ts'
import { ParamSlots } from '../submit/paramSlots.ts'
import { type CompiledKernel, PARAM_SLOT } from '../submit/pipelines.ts'
import type { Profiler } from '../submit/profiler.ts'
import {
  type Bytes,
  type CopyCommand,
  type Launch,
  type ParamBlocks,
  paramBlocks,
  type WriteCommand,
} from '../submit/stream.ts'
import type { WorkCounts } from '../submit/submissionQueue.ts'
import { accessesOf, type Graph, type GraphDispatch, type GraphWrite } from './graph.ts'
import type { FusedCommand, FusedGraph } from './horizontalFusion.ts'

const SLOT_WORDS = PARAM_SLOT / 4

/** A launch, with its parameter block. */
interface DispatchStep extends Launch {
  kind: 'dispatch'
  params: GPUBindGroup
}

/** A write, with the index of its data in `RunValues.writes`. */
interface WriteStep extends Omit<WriteCommand, 'data'> {
  index: number
}

/** A command of a run, with the name of the stream that it is encoded in. */
type Step = { stream: string } & (DispatchStep | CopyCommand | WriteStep)

/** The values that one run writes to the device. */
interface RunValues {
  /** The words of the parameter blocks from `firstWord` on that changed; undefined where none did. */
  params: Uint32Array<ArrayBuffer> | undefined
  firstWord: number
  /** The data of each write, by its index; undefined where the device already has the data. */
  writes: (Bytes | undefined)[]
}

/**
 * Finds the writes of data that can be hoisted before all other commands: nothing reads the memory before, and nothing else writes it, during
 * the run or after. Where the data is constant, such a write is made once.
 */
export function hoistableWrites({ commands }: Graph): Set<GraphWrite> {
  const used = new Set<PlannedBuffer>()
  const overwritten = new Set<PlannedBuffer>()
  const found: [GraphWrite, PlannedBuffer][] = []
  for (const command of commands) {
    for (const { binding, write } of accessesOf(command)) {
      const { buffer } = binding
      if (!isPlanned(buffer)) continue
      if (command.kind === 'write' && !used.has(buffer) && buffer.released) found.push([command, buffer])
      else if (write) overwritten.add(buffer)
      used.add(buffer)
    }
  }
  return new Set(found.filter(([, buffer]) => !overwritten.has(buffer)).map(([command]) => command))
}

/** Numbers the parameter blocks of dispatches. Blocks that hold the same words, in every replay, are one. */
function paramSlotsOf(dispatches: readonly Extract<FusedCommand, GraphDispatch>[]): {
  slots: Map<FusedCommand, number>
  count: number
} {
  const slots = new Map<FusedCommand, number>()
  const constant = new Map<string, number>()
  let count = 0
  for (const command of dispatches) {
    const slot = command.updateParams ? count++ : getOrMake(constant, command.words.join(), () => count++)
    slots.set(command, slot)
  }
  return { slots, count }
}

/** The parts of a device that an executable graph uses. */
export interface ExecutableResources {
  readonly gpu: GPUDevice
  readonly pipelines: { readonly paramLayout: GPUBindGroupLayout }
  readonly bindGroups: BindGroups
  /** Counts what is submitted. */
  readonly counts: WorkCounts
}

/** A fused graph with memory, made so that a run looks nothing up and allocates nothing. */
export class ExecutableGraph {
  readonly #resources: ExecutableResources
  readonly #steps: Step[] = []
  readonly #params: ParamSlots
  readonly #blocks: ParamBlocks
  /** The functions that compute what changes from run to run. They are called in captured order, because they may draw random numbers. */
  readonly #updates: (() => void)[] = []
  readonly #hoisted: { target: GPUBuffer; offset: number; index: number }[] = []
  /** The data of each write of the next run, by its index; undefined where the device already has the data. */
  readonly #writes: (Bytes | undefined)[] = []
  /** The words [from, to) of the parameter blocks that the device does not have yet. */
  #dirty: [from: number, to: number]
  readonly kernels: readonly CompiledKernel[]
  /** All buffers that a run uses. */
  readonly buffers: readonly PooledBuffer[]
  /** The number of dispatches of a run. */
  readonly dispatches: number
  /** The number of bind groups: one for each dispatch, and one for each parameter block. */
  readonly #bindGroups: number
  /** Resolves when the last run is submitted. */
  submitted: Promise<void> = Promise.resolve()

  /**
   * @param hoisted the result of `hoistableWrites`; these commands are not in `fused`
   * @throws OutOfMemoryError when the driver has no room for the bind groups
   */
  constructor(graph: Graph, fused: FusedGraph, hoisted: ReadonlySet<GraphWrite>, resources: ExecutableResources) {
    const { gpu, bindGroups, pipelines } = resources
    this.#resources = resources
    const dispatches = fused.commands.filter((command) => command.kind === 'dispatch')
    this.dispatches = dispatches.length
    const { slots, count } = paramSlotsOf(dispatches)
    this.#bindGroups = dispatches.length + count
    bindGroups.reserve(this.#bindGroups)
    this.#blocks = paramBlocks(count)
    this.#dirty = [0, this.#blocks.u32.length]
    this.#params = new ParamSlots(gpu, pipelines.paramLayout, count)
    this.kernels = [...new Set(dispatches.map(({ kernel }) => kernel))]
    const bindings = graph.commands.flatMap((command) => accessesOf(command).map(({ binding }) => resolve(binding)))
    this.buffers = [...new Set(bindings.map(({ buffer }) => buffer))]
    const writes = new Map<GraphWrite, number>()
    const addWrite = (command: GraphWrite) => {
      const { buffer, offset } = resolve(command.target)
      const index = this.#writes.push(command.data) - 1
      writes.set(command, index)
      return { target: buffer.gpu, offset, index }
    }
    for (const command of fused.commands) {
      const stream = command.lane?.fork.mode === 'streams' ? command.lane.name : 'main'
      if (command.kind === 'write') this.#steps.push({ kind: 'write', stream, ...addWrite(command) })
      else if (command.kind === 'copy') {
        const { buffer: source, offset: sourceOffset } = resolve(command.source)
        const { buffer: target, offset: targetOffset } = resolve(command.target)
        const [from, to] = [source.gpu, target.gpu]
        this.#steps.push({ kind: 'copy', stream, source: from, sourceOffset, target: to, targetOffset, bytes: command.bytes })
      } else {
        const slot = slots.get(command)!
        this.#blocks.u32.set(command.words, slot * SLOT_WORDS)
        const { kind, kernel, grid, op, streams } = command
        const resolved = command.bindings.map(resolve)
        const bindGroup = bindGroups.make(kernel, resolved)
        const uses = usesOf(command.spec, resolved)
        this.#steps.push({ kind, stream, kernel, bindGroup, grid, op, streams, uses, params: this.#params.groups[slot]! })
      }
    }
    for (const command of hoisted) this.#hoisted.push(addWrite(command))
    let next = 0
    for (const command of graph.commands) {
      const into = command.kind === 'write' && hoisted.has(command) ? undefined : fused.fusedInto[next++]!
      if (command.kind === 'dispatch') this.#addParamUpdate(command, slots.get(fused.commands[into!.index]!)!, into!.leads)
      else if (command.kind === 'write') this.#addDataUpdate(command, writes.get(command)!)
    }
  }

  #addDataUpdate({ data, updateData }: GraphWrite, index: number): void {
    if (!updateData) return
    this.#updates.push(() => {
      const { buffer, byteOffset, byteLength } = updateData()
      // The data is copied, because the host may fill the same array for every run.
      data.set(new Uint8Array(buffer, byteOffset, byteLength))
      this.#writes[index] = data
    })
  }

  #addParamUpdate({ spec, updateParams }: GraphDispatch, slot: number, leads: boolean): void {
    if (!updateParams) return
    const words = paramWordsByName(spec.params)
    const start = slot * SLOT_WORDS
    this.#updates.push(() => {
      const values = updateParams()
      // Every member of a fused dispatch computes its parameters, since that may draw random numbers. The fused dispatch takes those of the
      // first member, and a constant growth gives those of the others.
      if (!leads) return
      for (const [name, value] of Object.entries(values)) {
        const found = words.get(name)
        if (found) this.#blocks[found.type][start + found.word] = value as number
      }
      this.#dirty[0] = Math.min(this.#dirty[0], start)
      this.#dirty[1] = Math.max(this.#dirty[1], start + SLOT_WORDS)
    })
  }

  /** Computes the parameters and the data that change from run to run. */
  updateParams(): void {
    for (const update of this.#updates) update()
  }

  /** Returns what the next run must write. @param copied whether to copy the values, because the run is submitted later */
  values(copied: boolean): RunValues {
    const [from, to] = this.#dirty
    const blocks = from < to ? this.#blocks.u32.subarray(from, to) : undefined
    if (!copied) return { params: blocks, firstWord: from, writes: this.#writes }
    return { params: blocks?.slice(), firstWord: from, writes: this.#writes.map((data) => data?.slice()) }
  }

  /** Notes that a run writes its values, so that later runs write only what changes. */
  taken(): void {
    this.#dirty = [this.#blocks.u32.length, 0]
    for (const { index } of this.#hoisted) this.#writes[index] = undefined
  }

  /** Encodes and submits one run as a command buffer, or as one for each stream of a fork in mode `streams`. */
  submit({ params, firstWord, writes }: RunValues, profiler: Profiler | undefined): void {
    const { gpu, counts } = this.#resources
    if (params) this.#params.write(firstWord, params)
    for (const { target, offset, index } of this.#hoisted) {
      const data = writes[index]
      if (data) gpu.queue.writeBuffer(target, offset, data)
    }
    const encoding = new Encoding(gpu, counts, profiler)
    let stream = ''
    for (const step of this.#steps) {
      if (step.stream !== stream) encoding.submit()
      stream = step.stream
      if (step.kind === 'dispatch') encoding.dispatch(step, step.params, stream)
      else if (step.kind === 'copy') encoding.copy(step, stream)
      else encoding.write({ ...step, data: writes[step.index]! })
    }
    encoding.end(stream)
  }

  /** Frees the parameter buffer and the bind groups when all runs are submitted. */
  destroy(): void {
    this.submitted.then(() => {
      this.#params.destroy()
      this.#steps.length = 0
      this.#resources.bindGroups.release(this.#bindGroups)
    })
  }
}
