import type { Capabilities, KernelSpec } from '../../kernels/spec.ts'
import type { DeviceLostError } from '../base/errors.ts'
import { OPAQUE } from '../base/pytree.ts'
import type { ExecutableGraph, ExecutableResources } from '../graph/executable.ts'
import type { Graph, UpdateData, UpdateParams } from '../graph/graph.ts'
import type { FusedCommand } from '../graph/horizontalFusion.ts'
import type { Lane } from '../graph/lane.ts'
import { BindGroups } from '../memory/bindGroups.ts'
import type { Binding } from '../memory/bindings.ts'
import { BufferPool, type MemoryStatistics } from '../memory/bufferPool.ts'
import type { DeviceBuffer, PooledBuffer } from '../memory/deviceBuffer.ts'
import type { Allocator } from '../memory/storage.ts'
import type { Changeable } from '../memory/version.ts'
import { Workspace } from '../memory/workspace.ts'
import type { AdapterSummary, DeviceRequest, OpenedDevice } from '../platform/types.ts'
import { StreamEncoder } from '../submit/encoding.ts'
import { PipelineCache } from '../submit/pipelines.ts'
import type { Profiler } from '../submit/profiler.ts'
import { SubmissionQueue, type WorkCounts } from '../submit/submissionQueue.ts'
import { capabilitiesOf } from './capabilities.ts'
import { EagerRecorder } from './eagerRecorder.ts'
import { GraphRecorder } from './graphRecorder.ts'
import { KernelSelection } from './kernelSelection.ts'
import { RandomState } from './random.ts'
import type { Recorder } from './recorder.ts'

/**
 * A GPUDevice with its buffers, pipelines, stream and random state. It hands the work of ops to the recorder in charge: the eager one, whose
 * stream `flush()` submits, or another one while `recordWith` or `captureGraph` runs. The next `read()` or `synchronize()` throws the
 * errors of the driver.
 */
export class Device implements Allocator, ExecutableResources {
  readonly [OPAQUE] = true
  readonly gpu: GPUDevice
  /** The request that opens another device like this one. */
  readonly request: DeviceRequest
  readonly summary: AdapterSummary
  readonly capabilities: Capabilities
  /** @internal */
  readonly pipelines: PipelineCache
  /** @internal */
  readonly bindGroups: BindGroups
  /** The state of the random draws; `random.seed = 1` begins a stream that repeats. */
  readonly random = new RandomState()
  /** The profiler that times every dispatch, while there is one. @internal */
  profiler: Profiler | undefined
  /** Whether `destroy()` was called. */
  destroyed = false
  /** The op that is running, for errors and traces. @internal */
  op = ''
  /** Bytes that fit one binding; parameters that take more are divided among several arenas. Tests lower it. @internal */
  bindingBytes: number
  /** Memory that the executable graphs share. @internal */
  readonly workspace = new Workspace(this)
  /** @internal */
  readonly pool: BufferPool
  readonly #queue: SubmissionQueue
  /** @internal */
  readonly kernels: KernelSelection
  readonly #eager: EagerRecorder
  #recorder: Recorder
  #lane: Lane | undefined

  /** @param request the request that opened the device @internal */
  constructor({ device, summary, bindGroupLimit }: OpenedDevice, request: DeviceRequest = {}) {
    this.gpu = device
    this.request = request
    this.summary = summary
    this.capabilities = capabilitiesOf(device, summary)
    this.bindingBytes = Math.min(device.limits.maxBufferSize, device.limits.maxStorageBufferBindingSize)
    this.pipelines = new PipelineCache(device)
    this.bindGroups = new BindGroups(device, bindGroupLimit)
    this.#queue = new SubmissionQueue(device, summary.name, () => this.profiler)
    this.pool = new BufferPool(
      device,
      (buffer) => this.bindGroups.drop(buffer),
      (error) => this.#queue.fail(error),
    )
    this.kernels = new KernelSelection(this.capabilities, this.pipelines, summary.name)
    this.#eager = new EagerRecorder({
      gpu: device,
      capabilities: this.capabilities,
      kernels: this.kernels,
      pool: this.pool,
      bindGroups: this.bindGroups,
      queue: this.#queue,
      streams: new StreamEncoder(device, this.pipelines.paramLayout, this.#queue.counts),
      profiler: () => this.profiler,
    })
    this.#recorder = this.#eager
  }

  /** Resolves when the device is lost, with the error that every later call throws. */
  get lost(): Promise<DeviceLostError> {
    return this.#queue.lost
  }

  /** The numbers of submits and dispatches so far. */
  get counts(): WorkCounts {
    return this.#queue.counts
  }

  get memory(): MemoryStatistics {
    return this.pool.statistics
  }

  /** Sets `memory.peakBytes` to what is in use now. */
  resetPeakMemory(): void {
    this.pool.resetPeak()
  }

  /** Returns free buffers to the driver. */
  trim(): void {
    this.pool.trim(0, this.#queue.submitted)
  }

  /** The lane of the branch that is running, inside a fork. @internal */
  get lane(): Lane | undefined {
    return this.#lane
  }

  /** @internal */
  set lane(lane: Lane | undefined) {
    this.#lane = lane
    this.#recorder.enter(lane)
  }

  /** Whether a recorder other than the eager one is in charge. Nothing can be read then. */
  get capturing(): boolean {
    return this.#recorder !== this.#eager
  }

  /** Captures the work of `fn` in a graph without executing it. @throws Error inside another capture @internal */
  captureGraph<T>(fn: () => T): { graph: Graph; result: T } {
    const recorder = new GraphRecorder(this.kernels, this.pool)
    try {
      return { graph: recorder.graph, result: this.recordWith(recorder, fn) }
    } catch (error) {
      recorder.graph.dispose()
      throw error
    }
  }

  /** Runs `fn` with `recorder` in charge. @throws Error inside another capture @internal */
  recordWith<T>(recorder: Recorder, fn: () => T): T {
    if (this.capturing) throw new Error('capture: cannot be used inside another capture')
    this.#recorder = recorder
    try {
      return fn()
    } finally {
      this.#recorder = this.#eager
    }
  }

  /** Allocates memory for a tensor: planned memory inside a capture. @throws OutOfMemoryError, DeviceLostError @internal */
  acquire(bytes: number): DeviceBuffer {
    return this.#recorder.acquire(bytes)
  }

  /** Allocates memory that exists at once, also inside a capture. @throws OutOfMemoryError, DeviceLostError @internal */
  acquirePooled(bytes: number): PooledBuffer {
    return this.#eager.acquire(bytes)
  }

  /** @internal */
  release(buffer: DeviceBuffer): void {
    this.pool.release(buffer)
  }

  /** @internal */
  reclaimed(bytes: number): void {
    this.pool.reclaimed(bytes)
  }

  /** Notes that a command uses the memory of a tensor. @param changedBy the op, where it changes the memory @internal */
  uses(buffer: DeviceBuffer, version: Changeable, changedBy?: string): void {
    const changes = changedBy !== undefined
    if (changes) version.change(changedBy)
    this.#recorder.uses(buffer, version, changes)
  }

  /**
   * Records one launch of a kernel.
   * @param variant the variant to take, see `KernelSelection.variant`
   * @param updateParams gives the parameters that change, for every replay of a capture
   * @throws DeviceLostError; Error when no variant runs here, or the device does not take its grid
   * @internal
   */
  dispatch<P>(
    spec: KernelSpec<P>,
    problem: P,
    bindings: readonly Binding[],
    variant?: string,
    updateParams?: UpdateParams,
  ): void {
    this.#queue.checkLost()
    this.#recorder.dispatch({ spec, problem, bindings, variant, updateParams, op: this.op || spec.name, lane: this.#lane })
  }

  /**
   * Copies data into a buffer, in order with everything recorded so far.
   * @param update gives the data of every replay of a capture
   * @throws DeviceLostError
   * @internal
   */
  write(target: Binding, data: ArrayBufferView, update?: UpdateData): void {
    this.#queue.checkLost()
    const bytes = new Uint8Array(data.buffer as ArrayBuffer, data.byteOffset, data.byteLength)
    this.#recorder.write(target, bytes, this.#lane, update)
  }

  /** Records a copy between two buffers. @throws DeviceLostError @internal */
  copy(source: Binding, target: Binding, bytes: number): void {
    this.#queue.checkLost()
    this.#recorder.copy(source, target, bytes, this.#lane)
  }

  /** Records the commands of a fused and planned graph into the eager recorder's stream. @internal */
  emit(commands: readonly FusedCommand[]): void {
    this.#eager.emit(commands)
  }

  /**
   * Reads bytes as they are after everything recorded so far.
   * @throws DeviceLostError, or the first error that the driver reported for commands so far; Error inside a capture
   * @internal
   */
  async read(source: Binding, bytes: number): Promise<ArrayBuffer> {
    this.#queue.checkLost()
    if (this.capturing) throw new Error('capture: values cannot be read inside it; return the tensor and read it outside')
    this.#eager.endChain()
    const { serial } = this.#queue
    const staging = this.gpu.createBuffer({ size: bytes, usage: GPUBufferUsage.MAP_READ | GPUBufferUsage.COPY_DST })
    this.#eager.readBack(source, staging, bytes)
    // Reads of one turn of the event loop are submitted together.
    await undefined
    await this.flush()
    try {
      await this.#queue.finish(staging.mapAsync(GPUMapMode.READ), serial)
      return staging.getMappedRange().slice(0)
    } finally {
      staging.destroy()
    }
  }

  /** Waits until the device has done everything recorded so far. @throws as `read` does */
  async synchronize(): Promise<void> {
    this.#eager.endChain()
    const { serial } = this.#queue
    await this.flush()
    this.#queue.checkLost()
    await this.#queue.finish(this.gpu.queue.onSubmittedWorkDone(), serial)
    await this.bindGroups.settle()
  }

  /** Submits the eager recorder's stream when its pipelines are compiled. @returns resolves when everything so far is submitted */
  flush(): Promise<void> {
    return this.#eager.flush()
  }

  /** Runs an executable graph after everything recorded so far. @param label names the graph in errors @throws DeviceLostError @internal */
  run(executable: ExecutableGraph, label: string): void {
    this.#queue.checkLost()
    this.flush()
    const waits = this.#queue.busy || executable.kernels.some(({ pipeline }) => !pipeline)
    for (const buffer of executable.buffers) buffer.lastUse = this.#queue.serial
    const values = executable.values(waits)
    executable.submitted = this.#queue.add({
      kernels: executable.kernels,
      ops: 0,
      submit: (profiler) => executable.submit(values, profiler),
      describe: () => label,
    })
    executable.taken()
  }

  /** Destroys the device when the driver has no compilation left to do. Later calls throw DeviceLostError. */
  destroy(): void {
    this.destroyed = true
    this.#queue.lose('was destroyed')
    this.pipelines.idle().then(() => this.gpu.destroy())
  }
}
