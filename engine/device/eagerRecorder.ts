import { chain } from '../../kernels/elementwise/index.ts'
import type { Capabilities, KernelSpec } from '../../kernels/spec.ts'
import type { FusedCommand } from '../graph/horizontalFusion.ts'
import type { Lane } from '../graph/lane.ts'
import type { BindGroups } from '../memory/bindGroups.ts'
import { type Binding, type BufferUse, type ResolvedBinding, resolve, usesOf } from '../memory/bindings.ts'
import type { BufferPool } from '../memory/bufferPool.ts'
import type { PooledBuffer } from '../memory/deviceBuffer.ts'
import type { StreamEncoder } from '../submit/encoding.ts'
import type { Profiler } from '../submit/profiler.ts'
import { type Bytes, type Launch, MOST_LAUNCHES, Stream } from '../submit/stream.ts'
import type { SubmissionQueue } from '../submit/submissionQueue.ts'
import { chainOfCount, ElementwiseChain, largestChain, SHORTEST_CHAIN } from './elementwiseChain.ts'
import type { KernelSelection } from './kernelSelection.ts'
import type { KernelLaunch, Recorder } from './recorder.ts'

/** The name of the stream for work outside branches, and a list of it alone. */
const MAIN = 'main'
const MAIN_STREAMS: readonly string[] = [MAIN]
const NO_USES: readonly BufferUse[] = []

/** The parts of a device that its eager recorder uses. */
interface EagerResources {
  readonly gpu: GPUDevice
  readonly capabilities: Capabilities
  readonly kernels: KernelSelection
  readonly pool: BufferPool
  readonly bindGroups: BindGroups
  readonly queue: SubmissionQueue
  readonly streams: StreamEncoder
  readonly profiler: () => Profiler | undefined
}

/** Records commands into a stream, which is submitted by `flush()` or when it is long. */
export class EagerRecorder implements Recorder {
  readonly #resources: EagerResources
  readonly #main = new Stream(MAIN)
  #stream = this.#main
  /** The last launches, as far as one dispatch can do them all. */
  readonly #chain: ElementwiseChain
  readonly #largestChain: number

  constructor(resources: EagerResources) {
    this.#resources = resources
    this.#chain = new ElementwiseChain(resources.gpu)
    this.#largestChain = largestChain(resources.capabilities)
  }

  acquire(bytes: number): PooledBuffer {
    const { pool, queue } = this.#resources
    queue.checkLost()
    return pool.acquire(bytes, queue.submitted)
  }

  dispatch(launch: KernelLaunch): void {
    const { spec, problem, bindings, op, lane } = launch
    const { kernel, grid, block, step } = this.#resources.kernels.select(launch)
    const resolved = this.#resolve(bindings)
    if (step && step.count <= this.#largestChain) {
      this.#resources.bindGroups.checkRoom()
      const link = { kernel, grid, block: block!, bindings: resolved, op, lane, step, spec }
      if (this.#chain.add(link)) return
      this.endChain()
      // The end of a chain may submit the stream, and the launch belongs to the next submission.
      for (const { buffer } of resolved) this.#use(buffer)
      if (this.#chain.add(link)) return
    }
    this.endChain()
    const slot = block ? this.#stream.slotOf(block) : this.#stream.pack(spec.params, problem)
    this.#record(spec, { kernel, grid, op }, resolved, lane?.streams, slot)
  }

  copy(source: Binding, target: Binding, bytes: number): void {
    this.endChain()
    const [from, to] = [source, target].map((binding) => this.#used(binding)) as [ResolvedBinding, ResolvedBinding]
    this.#stream.record({
      kind: 'copy',
      source: from.buffer.gpu,
      sourceOffset: from.offset,
      target: to.buffer.gpu,
      targetOffset: to.offset,
      bytes,
    })
  }

  write(target: Binding, data: Bytes): void {
    const { gpu, queue } = this.#resources
    const { buffer, offset } = resolve(target)
    // Where all commands that use the buffer are submitted, the write need not wait in the stream.
    if (buffer.lastUse <= queue.submitted) {
      gpu.queue.writeBuffer(buffer.gpu, offset, data)
      return
    }
    this.endChain()
    buffer.lastUse = queue.serial
    this.#stream.record({ kind: 'write', target: buffer.gpu, offset, data: data.slice() })
  }

  /** Records a copy into memory that the host can map. */
  readBack(source: Binding, target: GPUBuffer, bytes: number): void {
    this.endChain()
    const { buffer, offset } = this.#used(source)
    this.#stream.record({ kind: 'copy', source: buffer.gpu, sourceOffset: offset, target, targetOffset: 0, bytes })
  }

  uses(): void {}

  /** Continues in the lane's own stream in mode `streams`, and in the main stream otherwise. */
  enter(lane: Lane | undefined): void {
    const name = lane?.fork.mode === 'streams' ? lane.name : MAIN
    if (name === this.#stream.name) return
    this.flush()
    this.#stream = name === MAIN ? this.#main : new Stream(name)
  }

  /** Records the commands of a fused and planned graph. */
  emit(commands: readonly FusedCommand[]): void {
    this.endChain()
    for (const command of commands) {
      if (command.kind === 'write') this.write(command.target, command.data)
      else if (command.kind === 'copy') this.copy(command.source, command.target, command.bytes)
      else {
        const { kernel, grid, op, streams, spec } = command
        const resolved = this.#resolve(command.bindings)
        this.#record(spec, { kernel, grid, op }, resolved, streams, this.#stream.addBlock(command.words))
      }
    }
  }

  /** Hands the stream to the submission queue. @returns resolves when everything so far is submitted */
  flush(): Promise<void> {
    this.endChain()
    const { queue, streams } = this.#resources
    return this.#stream.length === 0 ? queue.idle : queue.add(streams.workOf(this.#stream.take()))
  }

  /** Records the launches that wait in the chain: one dispatch for all, or one for each where they are few. The stream may be submitted. */
  endChain(): void {
    const { length } = this.#chain.launches
    if (length === 0) return
    if (length < SHORTEST_CHAIN) {
      for (const { spec, block, bindings, lane, ...launch } of this.#chain.take())
        this.#record(spec, launch, bindings, lane?.streams, this.#stream.slotOf(block), 1, true)
      return
    }
    const { step, lane } = this.#chain.launches[0]!
    const op = [...new Set(this.#chain.launches.map((launch) => launch.op))].join(', ')
    const problem = chainOfCount(step.count)
    const { kernel, grid } = this.#resources.kernels.select({ spec: chain, problem, bindings: [], op, lane })
    const bindings = this.#chain.bindings()
    const slot = this.#stream.pack(chain.params, { ...this.#chain.problem() })
    this.#chain.take()
    this.#record(chain, { kernel, grid, op }, bindings, lane?.streams, slot, length, true)
  }

  /**
   * Records a dispatch.
   * @param slot of its parameters in the stream
   * @param launches the launches of ops that it does
   * @param hasRoom whether the bind groups were asked for room
   */
  #record(
    spec: KernelSpec,
    { kernel, grid, op }: Pick<Launch, 'kernel' | 'grid' | 'op'>,
    bindings: readonly ResolvedBinding[],
    streams: readonly string[] = MAIN_STREAMS,
    slot: number,
    launches = 1,
    hasRoom = false,
  ): void {
    for (let i = 0; i < bindings.length; i++) this.#use(bindings[i]!.buffer)
    const bindGroup = this.#resources.bindGroups.get(kernel, bindings, hasRoom)
    this.#stream.dispatch({ kernel, bindGroup, grid, op, streams, uses: this.#usesOf(spec, bindings) }, slot, launches)
    if (this.#stream.launches >= MOST_LAUNCHES) this.flush()
  }

  /** The buffers that a launch uses, where a profiler wants to know. */
  #usesOf(spec: KernelSpec, resolved: readonly ResolvedBinding[]): readonly BufferUse[] {
    return this.#resources.profiler() ? usesOf(spec, resolved) : NO_USES
  }

  #resolve(bindings: readonly Binding[]): ResolvedBinding[] {
    const resolved: ResolvedBinding[] = []
    for (let i = 0; i < bindings.length; i++) resolved.push(this.#used(bindings[i]!))
    return resolved
  }

  /** Resolves a binding, and notes that the next submission uses its buffer. */
  #used(binding: Binding): ResolvedBinding {
    const resolved = resolve(binding)
    this.#use(resolved.buffer)
    return resolved
  }

  /** Notes that the next submission uses a buffer. */
  #use(buffer: PooledBuffer): void {
    buffer.lastUse = this.#resources.queue.serial
  }
}
