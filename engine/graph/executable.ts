import { type KernelSpec, paramWordsByName } from '../../kernels/spec.ts'
import type { BindGroups } from '../memory/bindGroups.ts'
import { resolve, usesOf } from '../memory/bindings.ts'
import { isPlanned, type PlannedBuffer, type PooledBuffer } from '../memory/deviceBuffer.ts'
import { Encoding } from '../submit/encoding.ts'
import { type CompiledKernel, PARAM_SLOT } from '../submit/pipelines.ts'
import type { Profiler } from '../submit/profiler.ts'
import type { CopyCommand, Launch, WriteCommand } from '../submit/stream.ts'
import type { WorkCounts } from '../submit/submissionQueue.ts'
import { accessesOf, type Graph, type GraphWrite, type UpdateParams } from './graph.ts'
import type { FusedCommand, FusedGraph } from './horizontalFusion.ts'
import type { Lane } from './lane.ts'

const SLOT_WORDS = PARAM_SLOT / 4

/** Where a step is encoded. */
interface Placed {
  stream: string
}

interface DispatchStep extends Launch, Placed {
  kind: 'dispatch'
  /** Where its parameter block is, in bytes. */
  params: number
}

interface CopyStep extends CopyCommand, Placed {}

interface WriteStep extends Omit<WriteCommand, 'data'>, Placed {
  /** Which of a run's writes it is. */
  index: number
}

type Step = DispatchStep | CopyStep | WriteStep

/** What one run of a program writes: parameter blocks from a word on, and the data of its writes. */
interface RunValues {
  params: Uint32Array<ArrayBuffer> | undefined
  firstWord: number
  writes: (Uint8Array<ArrayBuffer> | undefined)[]
}

/**
 * Writes to memory that nothing else writes, also after the run, and nothing reads before: they can be made before the commands
 * run, and where the data never changes once for all.
 */
export function earlyWrites({ commands }: Graph): Set<GraphWrite> {
  const used = new Set<PlannedBuffer>()
  const spoiled = new Set<PlannedBuffer>()
  const early: [GraphWrite, PlannedBuffer][] = []
  for (const command of commands) {
    for (const { binding, write } of accessesOf(command)) {
      const { buffer } = binding
      if (!isPlanned(buffer)) continue
      if (command.kind === 'write' && !used.has(buffer) && buffer.released) early.push([command, buffer])
      else if (write) spoiled.add(buffer)
      used.add(buffer)
    }
  }
  return new Set(early.filter(([, buffer]) => !spoiled.has(buffer)).map(([command]) => command))
}

/** The parts of a device that an executable graph uses. */
export interface ExecutableResources {
  readonly gpu: GPUDevice
  readonly pipelines: { readonly paramLayout: GPUBindGroupLayout }
  readonly bindGroups: BindGroups
  /** Counts what is submitted. */
  readonly counts: WorkCounts
}

/** A planned graph, made into what `submit` needs to encode it with nothing to look up. */
export class ExecutableGraph {
  readonly #resources: ExecutableResources
  readonly #steps: Step[] = []
  readonly #params: GPUBuffer
  readonly #paramGroup: GPUBindGroup
  readonly #blocks: Uint32Array<ArrayBuffer>
  /** Run in recorded order, since they may draw random numbers. */
  readonly #updates: (() => void)[] = []
  readonly #early: { target: GPUBuffer; offset: number; index: number }[] = []
  /** What the next run writes; `undefined` for what is in place for good. */
  readonly #writes: (Uint8Array<ArrayBuffer> | undefined)[] = []
  /** Words of the parameter blocks that the device does not have yet. */
  #dirty: [from: number, to: number] = [0, 0]
  readonly kernels: readonly CompiledKernel[]
  /** All memory that a run uses. */
  readonly buffers: readonly PooledBuffer[]
  /** Dispatches of one run. */
  readonly dispatches: number
  /** Settles when the last run has been handed to the driver. */
  submitted: Promise<void> = Promise.resolve()

  /** @param early from `earlyWrites`; their commands are not in `fused` */
  constructor(graph: Graph, fused: FusedGraph, early: ReadonlySet<GraphWrite>, resources: ExecutableResources) {
    const { gpu, bindGroups, pipelines } = resources
    this.#resources = resources
    const dispatches = fused.commands.filter((command) => command.kind === 'dispatch')
    this.dispatches = dispatches.length
    bindGroups.reserve(dispatches.length)
    const size = Math.max(1, dispatches.length) * PARAM_SLOT
    this.#params = gpu.createBuffer({ label: 'graph params', size, usage: GPUBufferUsage.UNIFORM | GPUBufferUsage.COPY_DST })
    this.#paramGroup = gpu.createBindGroup({
      layout: pipelines.paramLayout,
      entries: [{ binding: 0, resource: { buffer: this.#params, size: PARAM_SLOT } }],
    })
    this.#blocks = new Uint32Array(size / 4)
    this.kernels = [...new Set(dispatches.map(({ kernel }) => kernel))]
    const bindings = graph.commands.flatMap((command) => accessesOf(command).map(({ binding }) => resolve(binding)))
    this.buffers = [...new Set(bindings.map(({ buffer }) => buffer))]
    const slots = new Map<FusedCommand, number>()
    const writeSteps = new Map<GraphWrite, number>()
    for (const command of fused.commands) this.#add(command, slots, writeSteps)
    for (const command of early) {
      const { buffer, offset } = resolve(command.target)
      this.#early.push({ target: buffer.gpu, offset, index: this.#writes.length })
      writeSteps.set(command, this.#writes.length)
      this.#writes.push(command.data)
    }
    this.#dirty = [0, this.#blocks.length]
    let index = 0
    for (const command of graph.commands) {
      const place = command.kind === 'write' && early.has(command) ? undefined : fused.places[index++]!
      if (command.kind === 'dispatch' && command.updateParams) {
        this.#addParamUpdate(command.spec, command.updateParams, slots.get(fused.commands[place!.place]!)!, place!.leads)
      } else if (command.kind === 'write' && command.updateData) {
        this.#addDataUpdate(command.data, command.updateData, writeSteps.get(command)!)
      }
    }
  }

  #add(command: FusedCommand, slots: Map<FusedCommand, number>, writeSteps: Map<GraphWrite, number>): void {
    const stream = streamNameOf(command.lane)
    if (command.kind === 'dispatch') {
      const slot = slots.size
      slots.set(command, slot)
      this.#blocks.set(command.words, slot * SLOT_WORDS)
      const { kernel, grid, op } = command
      const places = command.bindings.map(resolve)
      const group = this.#resources.bindGroups.make(kernel, places)
      const uses = usesOf(command.spec, places)
      const { streams } = command
      this.#steps.push({
        kind: 'dispatch',
        kernel,
        bindGroup: group,
        params: slot * PARAM_SLOT,
        grid,
        op,
        stream,
        streams,
        uses,
      })
    } else if (command.kind === 'copy') {
      const { buffer: source, offset: sourceOffset } = resolve(command.source)
      const { buffer: target, offset: targetOffset } = resolve(command.target)
      const [from, to] = [source.gpu, target.gpu]
      this.#steps.push({ kind: 'copy', source: from, sourceOffset, target: to, targetOffset, bytes: command.bytes, stream })
    } else {
      const { buffer: target, offset } = resolve(command.target)
      writeSteps.set(command, this.#writes.length)
      this.#steps.push({ kind: 'write', target: target.gpu, offset, index: this.#writes.length, stream })
      this.#writes.push(command.data)
    }
  }

  #addDataUpdate(data: Uint8Array<ArrayBuffer>, update: () => ArrayBufferView<ArrayBuffer>, write: number): void {
    this.#updates.push(() => {
      // The data is copied, because the host may fill one array again and again.
      data.set(bytesOf(update()))
      this.#writes[write] = data
    })
  }

  #addParamUpdate(spec: KernelSpec, update: UpdateParams, slot: number, leads: boolean): void {
    const words = paramWordsByName(spec.params)
    const memory = this.#blocks.buffer
    const views = { u32: this.#blocks, i32: new Int32Array(memory), f32: new Float32Array(memory) }
    this.#updates.push(() => {
      const values = update()
      // A branch of a joint dispatch draws its numbers too; how far apart they are never changes.
      if (!leads) return
      for (const [name, value] of Object.entries(values)) {
        const found = words.get(name)
        if (found) views[found.type][slot * SLOT_WORDS + found.word] = value as number
      }
      this.#dirty[0] = Math.min(this.#dirty[0], slot * SLOT_WORDS)
      this.#dirty[1] = Math.max(this.#dirty[1], (slot + 1) * SLOT_WORDS)
    })
  }

  /** Computes what changes from the run before to the next one. */
  updateParams(): void {
    for (const update of this.#updates) update()
  }

  /** What the next run must write; `copied` where the run has to wait for its turn. */
  values(copied: boolean): RunValues {
    const [from, to] = this.#dirty
    const blocks = from < to ? this.#blocks.subarray(from, to) : undefined
    if (!copied) return { params: blocks, firstWord: from, writes: this.#writes }
    return { params: blocks?.slice(), firstWord: from, writes: this.#writes.map((data) => data?.slice()) }
  }

  /** Says that the values of a run were taken: what does not change is in place now. */
  taken(): void {
    this.#dirty = [this.#blocks.length, 0]
    for (const { index } of this.#early) this.#writes[index] = undefined
  }

  /** Encodes and submits one run: a command buffer, or one for every stream of a fork in mode `streams`. */
  submit({ params, firstWord, writes }: RunValues, profiler: Profiler | undefined): void {
    const { gpu, counts } = this.#resources
    if (params) gpu.queue.writeBuffer(this.#params, firstWord * 4, params)
    for (const { target, offset, index } of this.#early) {
      const data = writes[index]
      if (data) gpu.queue.writeBuffer(target, offset, data)
    }
    const encoding = new Encoding(gpu, counts, profiler)
    let stream = ''
    for (const step of this.#steps) {
      if (step.stream !== stream) encoding.submit()
      stream = step.stream
      if (step.kind === 'dispatch') encoding.dispatch(step, this.#paramGroup, step.params, stream)
      else if (step.kind === 'copy') encoding.copy(step, stream)
      else encoding.write({ ...step, data: writes[step.index]! })
    }
    encoding.end(stream)
  }

  /** Frees its memory, once runs that still wait for their turn have been submitted. */
  destroy(): void {
    this.submitted.then(() => {
      this.#params.destroy()
      this.#steps.length = 0
      this.#resources.bindGroups.release(this.dispatches)
    })
  }
}

function streamNameOf(lane: Lane | undefined): string {
  return lane?.fork.mode === 'streams' ? lane.name : 'main'
}

function bytesOf({ buffer, byteOffset, byteLength }: ArrayBufferView<ArrayBuffer>): Uint8Array<ArrayBuffer> {
  return new Uint8Array(buffer, byteOffset, byteLength)
}
