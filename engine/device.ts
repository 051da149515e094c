import { openDevice } from '#platform'
import type { Capabilities, Constants, KernelSpec, Variant } from '../kernels/spec.ts'
import { packParams } from '../kernels/spec.ts'
import { BufferPool, type MemoryStatistics, type PooledBuffer } from './bufferPool.ts'
import { capabilitiesOf } from './capabilities.ts'
import { DeviceLostError } from './errors.ts'
import { type CompiledKernel, PipelineCache } from './pipelines.ts'
import type { AdapterSummary, DeviceRequest, OpenedDevice } from './platform/types.ts'
import type { Profiler } from './profiler.ts'
import { RandomState } from './random.ts'
import { type Recording, Stream } from './stream.ts'
import { Submission } from './submission.ts'

/** Dispatches recorded before the device is given work without being asked. */
const FLUSH_AFTER = 128

/** Bind groups kept for reuse. Drivers hold memory for each: lavapipe a mapping, of which a process has 65,530. */
const MAX_BIND_GROUPS = 8192

/** A binding: a buffer from a byte offset on. */
export interface BufferRange {
  buffer: PooledBuffer
  /** A multiple of 256. */
  offset: number
}

/** What the driver reported for a batch. */
interface Failure {
  error: Error
  serial: number
  /** The batch that was being recorded when a reader was first told; those from it on are not. */
  reported: number
}

/** Failures remembered for readers that have not asked yet. */
const FAILURES_KEPT = 64

/** Reads and writes wait here for the batch that holds them. */
interface Batch {
  serial: number
  recording: Recording
  submitted: () => void
}

/**
 * One GPUDevice with its buffers, pipelines, streams and random state. Ops record into `stream`; `flush()` submits. Errors
 * of the driver surface from the next `read()` or `synchronize()`.
 */
export class Device {
  readonly gpu: GPUDevice
  readonly summary: AdapterSummary
  readonly capabilities: Capabilities
  readonly pipelines: PipelineCache
  readonly random = new RandomState()
  /** Settles when the device is gone; every later call throws the same error. */
  readonly lost: Promise<DeviceLostError>
  /** Set to time every dispatch. */
  profiler: Profiler | undefined
  /** Variants to take instead of the default ones, by kernel name. */
  readonly pinned = new Map<string, string>()
  /** The op being recorded, for errors and traces. */
  op = ''
  readonly #pool: BufferPool
  readonly #submission: Submission
  readonly #bindGroups = new Map<string, GPUBindGroup>()
  readonly #bindGroupsOf = new Map<number, Set<string>>()
  #stream = new Stream('main')
  #waiting: Batch[] = []
  #pumping: Promise<void> = Promise.resolve()
  /** Serial of the batch being recorded, and of the last one submitted. */
  #serial = 1
  #submittedSerial = 0
  #failures: Failure[] = []
  #checks = new Set<Promise<void>>()
  #lostError: DeviceLostError | undefined

  constructor({ device, summary }: OpenedDevice) {
    this.gpu = device
    this.summary = summary
    this.capabilities = capabilitiesOf(device, summary)
    this.pipelines = new PipelineCache(device)
    this.#submission = new Submission(device, this.pipelines.paramLayout)
    // Of no known batch: whoever reads next is told.
    const report = (error: Error) => this.#fail(error, 0)
    this.#pool = new BufferPool(device, (buffer) => this.#dropBindGroups(buffer), report)
    this.lost = device.lost.then((info) => {
      return this.#lose(info.reason === 'destroyed' ? 'was destroyed' : `was lost (${info.message || 'no reason given'})`)
    })
    device.onuncapturederror = (event) => report(new Error(event.error.message))
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
    this.#pool.trim(0, this.#submittedSerial)
  }

  /** Runs `fn` with its ops recorded into `stream`; what was recorded before it is submitted before it. */
  onStream<T>(stream: Stream, fn: () => T): T {
    this.flush()
    const outer = this.#stream
    this.#stream = stream
    try {
      return fn()
    } finally {
      this.flush()
      this.#stream = outer
    }
  }

  /** @throws OutOfMemoryError, DeviceLostError */
  acquire(bytes: number): PooledBuffer {
    this.#checkLost()
    return this.#pool.acquire(bytes, this.#submittedSerial)
  }

  release(buffer: PooledBuffer): void {
    this.#pool.release(buffer)
  }

  /** Records one launch of a kernel; the variant is the pinned one, the one named, or the spec's own choice. */
  dispatch<P>(spec: KernelSpec<P>, problem: P, ranges: readonly BufferRange[], variantName?: string): void {
    this.#checkLost()
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
    const stream = this.#stream
    const { params, word } = stream.nextBlock()
    packParams(spec.params, problem as Record<string, unknown>, params, word)
    for (const { buffer } of ranges) buffer.lastUse = this.#serial
    stream.dispatch(kernel, this.#bindGroup(kernel, ranges), grid, this.op || spec.name)
    if (stream.slots >= FLUSH_AFTER) this.flush()
  }

  /** The variant that `dispatch` would take. @throws Error when there is none of that name, or none that runs here */
  variant<P>(spec: KernelSpec<P>, problem: P, name?: string): Variant<P> {
    const wanted = this.pinned.get(spec.name) ?? name ?? spec.choose?.(this.capabilities, problem)
    const runs = (one: Variant<P>) => one.supports?.(this.capabilities, problem) ?? true
    const found =
      spec.variants.find((one) => (wanted === undefined || one.name === wanted) && runs(one)) ?? spec.variants.find(runs)
    if (!found) throw new Error(`${spec.name}: no variant runs on ${this.summary.name}`)
    return found
  }

  /** Copies data into a buffer, after everything recorded so far that uses it. */
  write(range: BufferRange, data: ArrayBufferView): void {
    this.#checkLost()
    const bytes = new Uint8Array(data.buffer, data.byteOffset, data.byteLength)
    if (range.buffer.lastUse <= this.#submittedSerial) {
      this.gpu.queue.writeBuffer(range.buffer.gpu, range.offset, bytes as Uint8Array<ArrayBuffer>)
      return
    }
    range.buffer.lastUse = this.#serial
    this.#stream.record({ kind: 'write', target: range.buffer.gpu, offset: range.offset, data: bytes.slice() })
  }

  /** Records a copy between buffers (not within one). */
  copy(source: BufferRange, target: BufferRange, bytes: number): void {
    this.#checkLost()
    source.buffer.lastUse = this.#serial
    target.buffer.lastUse = this.#serial
    this.#stream.record({
      kind: 'copy',
      source: source.buffer.gpu,
      sourceOffset: source.offset,
      target: target.buffer.gpu,
      targetOffset: target.offset,
      bytes,
    })
  }

  /**
   * Reads bytes as they are after everything recorded so far.
   * @throws DeviceLostError, and whatever the driver reported for commands before
   */
  async read(range: BufferRange, bytes: number): Promise<ArrayBuffer> {
    this.#checkLost()
    const serial = this.#serial
    const staging = this.gpu.createBuffer({ size: bytes, usage: GPUBufferUsage.MAP_READ | GPUBufferUsage.COPY_DST })
    range.buffer.lastUse = this.#serial
    this.#stream.record({
      kind: 'copy',
      source: range.buffer.gpu,
      sourceOffset: range.offset,
      target: staging,
      targetOffset: 0,
      bytes,
    })
    await this.flush()
    try {
      await staging.mapAsync(GPUMapMode.READ)
      await this.#settleChecks(serial)
      return staging.getMappedRange().slice(0)
    } catch (error) {
      throw await this.#explain(error, serial)
    } finally {
      staging.destroy()
    }
  }

  /** Waits until the device has done everything recorded so far. @throws what the driver reported */
  async synchronize(): Promise<void> {
    const serial = this.#serial
    await this.flush()
    this.#checkLost()
    try {
      await this.gpu.queue.onSubmittedWorkDone()
    } catch (error) {
      throw await this.#explain(error, serial)
    }
    await this.#settleChecks(serial)
  }

  /**
   * Submits what the current stream holds, as soon as its pipelines are compiled.
   * @returns settles when it is submitted
   */
  flush(): Promise<void> {
    const stream = this.#stream
    if (stream.length === 0) return this.#pumping
    const serial = this.#serial++
    const recording = stream.take()
    let submitted = () => {}
    const promise = new Promise<void>((resolve) => {
      submitted = resolve
    })
    this.#waiting.push({ serial, recording, submitted })
    if (this.#lostError) this.#endWaiting()
    else if (this.#waiting.length === 1) this.#pump()
    this.#pumping = promise
    return promise
  }

  /** Submits waiting batches in order, up to the first whose pipelines are still compiling; then waits for those. */
  #pump(): void {
    for (;;) {
      const batch = this.#waiting[0]
      if (!batch) return
      const compiling = new Set<Promise<unknown>>()
      for (const command of batch.recording.commands) {
        if (command.kind === 'dispatch' && !command.kernel.pipeline) compiling.add(command.kernel.ready)
      }
      if (compiling.size === 0) {
        this.#submit(batch)
        this.#waiting.shift()
        continue
      }
      Promise.allSettled(compiling).then((results) => {
        const failed = results.filter((result) => result.status === 'rejected')
        for (const { reason } of failed) this.#fail(reason as Error, batch.serial)
        if (failed.length > 0) {
          const { recording } = batch
          recording.commands = recording.commands.filter((one) => one.kind !== 'dispatch' || one.kernel.pipeline)
        }
        this.#pump()
      })
      return
    }
  }

  #submit({ serial, recording, submitted }: Batch): void {
    const check: Promise<void> = this.#submission.submit(recording, this.profiler).then((error) => {
      if (error) this.#fail(error, serial)
      this.#checks.delete(check)
    })
    this.#checks.add(check)
    this.#submittedSerial = serial
    submitted()
  }

  #fail(error: Error, serial: number): void {
    this.#failures.push({ error, serial, reported: Number.POSITIVE_INFINITY })
  }

  /**
   * Waits for the error scopes of submitted batches. Throws the failure of batch `serial` or one before it: every reader of
   * what was recorded until the failure was first reported must learn of it, later ones start afresh.
   */
  async #settleChecks(serial: number): Promise<void> {
    if (this.#checks.size > 0) await Promise.all(this.#checks)
    this.#checkLost()
    const failure = this.#failures.find((one) => one.serial <= serial && serial < one.reported)
    if (!failure) return
    failure.reported = Math.min(failure.reported, this.#serial)
    if (this.#failures.length > FAILURES_KEPT) this.#failures.shift()
    throw failure.error
  }

  /** From here on every call ends with the same error. */
  #lose(how: string): DeviceLostError {
    this.#lostError ??= new DeviceLostError(`the device ${this.summary.name} ${how}; request a new one and load a checkpoint`)
    this.#endWaiting()
    return this.#lostError
  }

  /** Batches that wait for pipelines of a lost device end unsubmitted; their readers find the device lost. */
  #endWaiting(): void {
    for (const { submitted } of this.#waiting) submitted()
    this.#waiting = []
  }

  /** The error behind a failed read: the loss of the device, if that is about to be reported, or a failure before it. */
  async #explain(error: unknown, serial: number): Promise<unknown> {
    const soon = new Promise<undefined>((resolve) => setTimeout(resolve, 100))
    const lost = await Promise.race([this.lost, soon])
    if (lost) return lost
    try {
      await this.#settleChecks(serial)
    } catch (failure) {
      return failure
    }
    return error
  }

  #checkLost(): void {
    if (this.#lostError) throw this.#lostError
  }

  #bindGroup(kernel: CompiledKernel, ranges: readonly BufferRange[]): GPUBindGroup {
    let key = `${kernel.layout}`
    for (const { buffer, offset } of ranges) key += ` ${buffer.id}+${offset}`
    let group = this.#bindGroups.get(key)
    if (!group) {
      if (this.#bindGroups.size >= MAX_BIND_GROUPS) {
        this.#bindGroups.clear()
        this.#bindGroupsOf.clear()
      }
      group = this.gpu.createBindGroup({
        layout: kernel.bindGroupLayout,
        entries: ranges.map(({ buffer, offset }, binding) => ({ binding, resource: { buffer: buffer.gpu, offset } })),
      })
      this.#bindGroups.set(key, group)
      for (const { buffer } of ranges) {
        const keys = this.#bindGroupsOf.get(buffer.id)
        if (keys) keys.add(key)
        else this.#bindGroupsOf.set(buffer.id, new Set([key]))
      }
    }
    return group
  }

  #dropBindGroups(buffer: PooledBuffer): void {
    for (const key of this.#bindGroupsOf.get(buffer.id) ?? []) this.#bindGroups.delete(key)
    this.#bindGroupsOf.delete(buffer.id)
  }

  /** Ends the device, once the driver compiles nothing any more. Later calls throw DeviceLostError. */
  destroy(): void {
    if (current === this) current = undefined
    this.#lose('was destroyed')
    this.pipelines.idle().then(() => this.gpu.destroy())
  }
}

let current: Device | undefined

/**
 * Opens a device and makes it the default one.
 * @throws Error in one line that says what to install, when there is no adapter, or none of that name
 */
export async function requestDevice(request: DeviceRequest = {}): Promise<Device> {
  const device = new Device(await openDevice(request))
  current = device
  return device
}

/** The device that tensors are made on when none is named. @throws Error when `requestDevice()` was not called */
export function defaultDevice(): Device {
  if (!current) throw new Error('no device yet: call `await requestDevice()` first')
  return current
}

/** Makes `device` the default. */
export function setDefaultDevice(device: Device): void {
  current = device
}
