import { openDevice } from '#platform'
import type { Capabilities, Constants, KernelSpec, Variant } from '../../kernels/spec.ts'
import { bindingDtype, packParams, paramWords, runsOn, SCALAR_BYTES } from '../../kernels/spec.ts'
import type { TunedVariants } from '../autotune/tuned.ts'
import { refusal } from '../base/checks.ts'
import { type DeviceLostError, UserError } from '../base/errors.ts'
import { OPAQUE } from '../base/pytree.ts'
import type { ForkMode, Lane } from '../fork.ts'
import type { ExecutableGraph } from '../graph/executable.ts'
import { Graph, type UpdateParams } from '../graph/graph.ts'
import type { FusedCommand, FusedDispatch } from '../graph/horizontalFusion.ts'
import { BindGroups } from '../memory/bindGroups.ts'
import { type Binding, resolve, usesOf } from '../memory/bindings.ts'
import { BufferPool, type MemoryStatistics, type PooledBuffer } from '../memory/bufferPool.ts'
import { type Block, type DeviceBuffer, isPlanned } from '../memory/plannedMemory.ts'
import type { Storage } from '../memory/storage.ts'
import type { Changeable } from '../memory/version.ts'
import { Workspace } from '../memory/workspace.ts'
import { type AdapterSummary, checkRequest, type DeviceRequest, type OpenedDevice } from '../platform/types.ts'
import type { BufferUse } from '../submit/barriers.ts'
import { BatchQueue } from '../submit/batchQueue.ts'
import type { WorkCounts } from '../submit/encoding.ts'
import { type CompiledKernel, PipelineCache } from '../submit/pipelines.ts'
import type { Profiler } from '../submit/profiler.ts'
import { Stream } from '../submit/stream.ts'
import { capabilitiesOf } from './capabilities.ts'
import { RandomState } from './random.ts'
import { runOnce } from './runOnce.ts'

/** Dispatches recorded before the device is given work without being asked. */
const FLUSH_AFTER = 128

/** What is true of most dispatches, one list for all. */
const MAIN: readonly string[] = ['main']
const NONE: readonly BufferUse[] = []

/** Gets what `dispatch` got. */
export type DispatchObserver = (spec: KernelSpec, problem: any, ranges: readonly Binding[], variantName?: string) => void

/**
 * One GPUDevice with its buffers, pipelines, streams and random state. Ops record into `stream`; `flush()` submits. Errors
 * of the driver surface from the next `read()` or `synchronize()`.
 */
export class Device {
  readonly [OPAQUE] = true
  readonly gpu: GPUDevice
  readonly request: DeviceRequest
  readonly summary: AdapterSummary
  readonly capabilities: Capabilities
  readonly pipelines: PipelineCache
  readonly random = new RandomState()
  /** Set to time every dispatch. */
  profiler: Profiler | undefined
  /** Variants to take instead of the default ones, by kernel name. */
  readonly pinned = new Map<string, string>()
  /** Variants measured to be fastest, taken where none is pinned. */
  tuned: TunedVariants | undefined
  /** Is told of every dispatch in place of its being recorded, see `survey()`. */
  observer: DispatchObserver | undefined
  /** The op being recorded, for errors and traces. */
  op = ''
  /** Bytes that one binding holds: parameters that take more are divided among several arenas. Tests lower it. */
  bindingBytes: number
  /** Memory that captured programs share. */
  readonly workspace = new Workspace(this)
  readonly #pool: BufferPool
  readonly #batches: BatchQueue
  readonly #bindGroups: BindGroups
  readonly #main = new Stream(MAIN[0]!)
  #stream = this.#main
  #graph: Graph | undefined
  #lane: Lane | undefined

  /** @param request what another device like this one is opened with */
  constructor({ device, summary, bindGroupLimit }: OpenedDevice, request: DeviceRequest = {}) {
    this.gpu = device
    this.request = request
    this.summary = summary
    this.capabilities = capabilitiesOf(device, summary)
    this.bindingBytes = Math.min(device.limits.maxBufferSize, device.limits.maxStorageBufferBindingSize)
    this.pipelines = new PipelineCache(device)
    this.#batches = new BatchQueue(device, summary.name, this.pipelines.paramLayout, () => this.profiler)
    this.#bindGroups = new BindGroups(device, bindGroupLimit)
    this.#pool = new BufferPool(
      device,
      (buffer) => this.#bindGroups.drop(buffer),
      (error) => this.#batches.fail(error),
    )
  }

  /** Settles when the device is gone; every later call throws the same error. */
  get lost(): Promise<DeviceLostError> {
    return this.#batches.lost
  }

  /** What was submitted so far. */
  get counts(): WorkCounts {
    return this.#batches.counts
  }

  /** The stream that ops record into. */
  get stream(): Stream {
    return this.#stream
  }

  get memory(): MemoryStatistics {
    return this.#pool.statistics
  }

  /** Starts the peak of `memory` anew. */
  resetPeakMemory(): void {
    this.#pool.resetPeak()
  }

  /** Gives free buffers back to the driver. */
  trim(): void {
    this.#pool.trim(0, this.#batches.submitted)
  }

  /** The branch of a fork that is being recorded. */
  get lane(): Lane | undefined {
    return this.#lane
  }

  set lane(lane: Lane | undefined) {
    this.#lane = lane
    if (this.#graph) return
    const name = lane?.fork.mode === 'streams' ? lane.name : this.#main.name
    if (name === this.#stream.name) return
    this.flush()
    this.#stream = name === this.#main.name ? this.#main : new Stream(name)
  }

  /** Whether commands go to a graph: nothing can be read until it has run. */
  get recording(): boolean {
    return this.#graph !== undefined
  }

  /**
   * Records what `fn` does into a graph; nothing of it is executed.
   * @throws Error when one is being recorded
   */
  record<T>(fn: () => T): { graph: Graph; result: T } {
    if (this.#graph) throw new Error('capture: cannot be used inside another capture')
    const graph = new Graph()
    this.#graph = graph
    try {
      return { graph, result: fn() }
    } catch (error) {
      graph.dispose()
      throw error
    } finally {
      this.#graph = undefined
    }
  }

  /** Runs `fn`, which forks: in mode `coalesced` what it recorded is woven before it goes on. */
  recordForked<T>(mode: ForkMode, fn: () => T): T {
    return mode === 'coalesced' && !this.#graph ? runOnce(this, fn) : fn()
  }

  /** Memory for a tensor; while a graph is recorded, its place is decided later. @throws OutOfMemoryError, DeviceLostError */
  acquire(bytes: number): DeviceBuffer {
    if (!this.#graph) return this.acquirePooled(bytes)
    this.#pool.checkSize(bytes)
    return this.#graph.acquire(bytes)
  }

  /** @throws OutOfMemoryError, DeviceLostError */
  acquirePooled(bytes: number): PooledBuffer {
    this.#batches.checkLost()
    return this.#pool.acquire(bytes, this.#batches.submitted)
  }

  release(buffer: DeviceBuffer): void {
    if (isPlanned(buffer)) {
      buffer.released = true
      if (buffer.place) this.releaseBlock(buffer.place.block)
    } else this.#pool.release(buffer)
  }

  /** Counts memory that came back because the garbage collector found its tensors dropped. */
  reclaimed(bytes: number): void {
    this.#pool.reclaimed(bytes)
  }

  /** Takes one of its users from a block. */
  releaseBlock(block: Block): void {
    if (--block.users === 0) this.#pool.release(block.buffer)
  }

  /**
   * Says that a command uses memory of a tensor.
   * @param changedBy the op that changes it, if it does
   */
  uses(storage: Storage, version: Changeable, changedBy?: string): void {
    if (changedBy !== undefined) version.change(changedBy)
    if (this.#graph && !isPlanned(storage.buffer)) this.#graph.uses(version, changedBy !== undefined)
  }

  /**
   * Records one launch of a kernel; the variant is the pinned one, the one named, the tuned one, or the spec's own choice.
   * @param refresh parameters that every replay of a capture computes anew
   */
  dispatch<P>(spec: KernelSpec<P>, problem: P, ranges: readonly Binding[], variantName?: string, refresh?: UpdateParams): void {
    this.#batches.checkLost()
    if (this.observer) {
      this.observer(spec, problem, ranges, variantName)
      return
    }
    const variant = this.variant(spec, problem, variantName)
    const constants: Constants = variant.constants?.(problem, this.capabilities) ?? {}
    const grid = variant.grid(problem, constants)
    const limit = this.capabilities.maxWorkgroups
    if (grid.some((count) => !(count >= 1 && count <= limit))) {
      throw new Error(
        `${this.op}: kernel ${spec.name}/${variant.name} needs a grid of ${grid.join('x')}, the device takes ${limit}`,
      )
    }
    const kernel = this.pipelines.get(spec, variant, constants)
    const op = this.op || spec.name
    if (this.#graph) {
      const words = new Uint32Array(paramWords(spec.params))
      const memory = { u32: words, i32: new Int32Array(words.buffer), f32: new Float32Array(words.buffer) }
      packParams(spec.params, problem as Record<string, unknown>, memory, 0)
      const itemBytes = spec.bindings.map((binding) => SCALAR_BYTES[bindingDtype(binding, problem)])
      this.#graph.dispatch({ kernel, spec, problem, itemBytes, ranges, words, grid, op, lane: this.#lane, refresh })
      return
    }
    const { params, word } = this.#stream.nextBlock()
    packParams(spec.params, problem as Record<string, unknown>, params, word)
    this.#launch({ kernel, spec, ranges, grid, op, streams: this.#lane?.streams ?? MAIN })
  }

  /** Records a launch whose parameters lie in the stream's next block. */
  #launch({
    kernel,
    spec,
    ranges,
    grid,
    op,
    streams,
  }: Omit<FusedDispatch, 'kind' | 'problem' | 'words' | 'itemBytes' | 'lane'>): void {
    const places = ranges.map(resolve)
    for (const { buffer } of places) buffer.lastUse = this.#batches.serial
    const uses = this.profiler ? usesOf(spec, places) : NONE
    this.#stream.dispatch({ kernel, bindGroup: this.#bindGroups.get(kernel, places), grid, op, streams, uses })
    if (this.#stream.slots >= FLUSH_AFTER) this.flush()
  }

  /** Records commands of a planned graph into the current stream. */
  emit(commands: readonly FusedCommand[]): void {
    for (const command of commands) {
      if (command.kind === 'write') this.write(command.target, command.data)
      else if (command.kind === 'copy') this.copy(command.source, command.target, command.bytes)
      else {
        const { params, word } = this.#stream.nextBlock()
        params.u32.set(command.words, word)
        this.#launch(command)
      }
    }
  }

  /** The variant that `dispatch` would take. @throws Error when there is none of that name, or none that runs here */
  variant<P>(spec: KernelSpec<P>, problem: P, name?: string): Variant<P> {
    const given = this.pinned.get(spec.name) ?? name ?? this.tuned?.choose(spec, problem, this.capabilities)
    const wanted = given ?? spec.choose?.(this.capabilities, problem)
    const runs = (one: Variant<P>) => runsOn(spec, one, this.capabilities, problem)
    const found =
      spec.variants.find((one) => (wanted === undefined || one.name === wanted) && runs(one)) ?? spec.variants.find(runs)
    if (!found) throw new Error(`${spec.name}: no variant runs on ${this.summary.name}`)
    return found
  }

  /**
   * Copies data into a buffer, after everything recorded so far that uses it.
   * @param refresh the data of every replay of a capture
   */
  write(range: Binding, data: ArrayBufferView, refresh?: () => ArrayBufferView<ArrayBuffer>): void {
    this.#batches.checkLost()
    const bytes = new Uint8Array(data.buffer as ArrayBuffer, data.byteOffset, data.byteLength)
    if (this.#graph) {
      this.#graph.write({ target: range, data: bytes.slice(), refresh, lane: this.#lane })
      return
    }
    const { buffer, offset } = resolve(range)
    if (buffer.lastUse <= this.#batches.submitted) {
      this.gpu.queue.writeBuffer(buffer.gpu, offset, bytes)
      return
    }
    buffer.lastUse = this.#batches.serial
    this.#stream.record({ kind: 'write', target: buffer.gpu, offset, data: bytes.slice() })
  }

  /** Records a copy between buffers (not within one). */
  copy(source: Binding, target: Binding, bytes: number): void {
    this.#batches.checkLost()
    if (this.#graph) {
      this.#graph.copy({ source, target, bytes, lane: this.#lane })
      return
    }
    const [from, to] = [resolve(source), resolve(target)]
    from.buffer.lastUse = this.#batches.serial
    to.buffer.lastUse = this.#batches.serial
    this.#stream.record({
      kind: 'copy',
      source: from.buffer.gpu,
      sourceOffset: from.offset,
      target: to.buffer.gpu,
      targetOffset: to.offset,
      bytes,
    })
  }

  /**
   * Reads bytes as they are after everything recorded so far.
   * @throws DeviceLostError, and whatever the driver reported for commands before
   */
  async read(range: Binding, bytes: number): Promise<ArrayBuffer> {
    this.#batches.checkLost()
    if (this.#graph) throw new Error('capture: values cannot be read inside it; return the tensor and read it outside')
    const serial = this.#batches.serial
    const staging = this.gpu.createBuffer({ size: bytes, usage: GPUBufferUsage.MAP_READ | GPUBufferUsage.COPY_DST })
    const { buffer, offset } = resolve(range)
    buffer.lastUse = this.#batches.serial
    this.#stream.record({
      kind: 'copy',
      source: buffer.gpu,
      sourceOffset: offset,
      target: staging,
      targetOffset: 0,
      bytes,
    })
    // Reads asked for together are submitted together.
    await undefined
    await this.flush()
    try {
      await staging.mapAsync(GPUMapMode.READ)
      await this.#batches.settle(serial)
      return staging.getMappedRange().slice(0)
    } catch (error) {
      throw await this.#batches.explain(error, serial)
    } finally {
      staging.destroy()
    }
  }

  /** Waits until the device has done everything recorded so far. @throws what the driver reported */
  async synchronize(): Promise<void> {
    const serial = this.#batches.serial
    await this.flush()
    this.#batches.checkLost()
    try {
      await this.gpu.queue.onSubmittedWorkDone()
    } catch (error) {
      throw await this.#batches.explain(error, serial)
    }
    await this.#batches.settle(serial)
    await this.#bindGroups.settle()
  }

  /**
   * Submits what the current stream holds, as soon as its pipelines are compiled.
   * @returns settles when it is submitted
   */
  flush(): Promise<void> {
    const stream = this.#stream
    return stream.length === 0 ? this.#batches.idle : this.#batches.add(stream.take())
  }

  /**
   * Runs a program after everything recorded so far.
   * @param label what errors call it
   */
  run(program: ExecutableGraph, label: string): void {
    this.#batches.checkLost()
    this.flush()
    const waits = this.#batches.busy || program.kernels.some(({ pipeline }) => !pipeline)
    for (const buffer of program.buffers) buffer.lastUse = this.#batches.serial
    program.submitted = this.#batches.add({ program, values: program.values(waits), label })
    program.taken()
  }

  /** Looks whether the driver has room for a program of so many dispatches. @throws OutOfMemoryError when it has not */
  reserveBindGroups(dispatches: number): void {
    this.#bindGroups.reserve(dispatches)
  }

  /** Says that a program of so many dispatches is gone. */
  releaseBindGroups(dispatches: number): void {
    this.#bindGroups.release(dispatches)
  }

  /** A bind group of memory that there is, which the caller keeps. @throws OutOfMemoryError */
  bindGroup(kernel: CompiledKernel, ranges: readonly Binding[]): GPUBindGroup {
    return this.#bindGroups.make(kernel, ranges.map(resolve))
  }

  /** Ends the device, once the driver compiles nothing any more. Later calls throw DeviceLostError. */
  destroy(): void {
    if (current === this) current = undefined
    this.#batches.lose('was destroyed')
    this.pipelines.idle().then(() => this.gpu.destroy())
  }
}

let current: Device | undefined

/** @throws ArgumentError for what is no device of this package */
export function checkDevice(op: string, device: unknown): asserts device is Device {
  if (!(device instanceof Device)) throw refusal(op, device, 'a device, as `await requestDevice()` gives it', 'device')
}

/**
 * Opens a device and makes it the default one.
 * @throws ArgumentError for an unknown option or a value of a wrong kind; UserError in one line that says what to install, when there is
 *   no adapter, or none of that name
 */
export async function requestDevice(request: DeviceRequest = {}): Promise<Device> {
  checkRequest('requestDevice', request)
  const device = new Device(await openDevice(request), request)
  current = device
  return device
}

/** The device that tensors are made on when none is named. @throws UserError when `requestDevice()` was not called */
export function defaultDevice(): Device {
  if (!current) throw new UserError('no device yet: call `await requestDevice()` first')
  return current
}

/** Makes `device` the default. @throws ArgumentError for what is no device */
export function setDefaultDevice(device: Device): void {
  checkDevice('setDefaultDevice', device)
  current = device
}

/** Runs `fn`, which does not wait for anything, with `device` as the default one. */
export function withDevice<T>(device: Device, fn: () => T): T {
  const outer = current
  current = device
  try {
    return fn()
  } finally {
    current = outer
  }
}
