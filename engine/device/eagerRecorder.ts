import { packParams } from '../../kernels/spec.ts'
import type { FusedCommand } from '../graph/horizontalFusion.ts'
import type { Lane } from '../graph/lane.ts'
import type { BindGroups } from '../memory/bindGroups.ts'
import { type Binding, type BufferUse, type ResolvedBinding, resolve, usesOf } from '../memory/bindings.ts'
import type { BufferPool } from '../memory/bufferPool.ts'
import type { PooledBuffer } from '../memory/deviceBuffer.ts'
import type { StreamEncoder } from '../submit/encoding.ts'
import type { Profiler } from '../submit/profiler.ts'
import { type Bytes, type Launch, Stream } from '../submit/stream.ts'
import type { SubmissionQueue } from '../submit/submissionQueue.ts'
import type { KernelSelection } from './kernelSelection.ts'
import type { KernelLaunch, Recorder } from './recorder.ts'

/** The number of recorded dispatches at which the stream is submitted without a call of `flush()`. */
const FLUSH_AFTER = 128

/** The name of the stream for work outside branches, and a list of it alone. */
const MAIN = 'main'
const MAIN_STREAMS: readonly string[] = [MAIN]
const NO_USES: readonly BufferUse[] = []

/** The parts of a device that its eager recorder uses. */
interface EagerResources {
  readonly gpu: GPUDevice
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

  constructor(resources: EagerResources) {
    this.#resources = resources
  }

  acquire(bytes: number): PooledBuffer {
    const { pool, queue } = this.#resources
    queue.checkLost()
    return pool.acquire(bytes, queue.submitted)
  }

  dispatch(launch: KernelLaunch): void {
    const { spec, problem, bindings, op, lane } = launch
    const { kernel, grid } = this.#resources.kernels.select(launch)
    const { params, word } = this.#stream.nextBlock()
    packParams(spec.params, problem as Record<string, unknown>, params, word)
    this.#launch({ kernel, spec, bindings, grid, op, streams: lane?.streams ?? MAIN_STREAMS })
  }

  copy(source: Binding, target: Binding, bytes: number): void {
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
    buffer.lastUse = queue.serial
    this.#stream.record({ kind: 'write', target: buffer.gpu, offset, data: data.slice() })
  }

  /** Records a copy into memory that the host can map. */
  readBack(source: Binding, target: GPUBuffer, bytes: number): void {
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

  /** Hands the stream to the submission queue. @returns resolves when everything so far is submitted */
  flush(): Promise<void> {
    const { queue, streams } = this.#resources
    return this.#stream.length === 0 ? queue.idle : queue.add(streams.workOf(this.#stream.take()))
  }

  /** Records a launch whose parameters are packed in the stream's next block. */
  #launch(launch: Pick<Launch, 'kernel' | 'grid' | 'op' | 'streams'> & Pick<KernelLaunch, 'spec' | 'bindings'>): void {
    const { kernel, spec, bindings, grid, op, streams } = launch
    const { bindGroups, profiler } = this.#resources
    const resolved = bindings.map((binding) => this.#used(binding))
    const uses = profiler() ? usesOf(spec, resolved) : NO_USES
    this.#stream.dispatch({ kernel, bindGroup: bindGroups.get(kernel, resolved), grid, op, streams, uses })
    if (this.#stream.slots >= FLUSH_AFTER) this.flush()
  }

  /** Resolves a binding, and notes that the next submission uses its buffer. */
  #used(binding: Binding): ResolvedBinding {
    const resolved = resolve(binding)
    resolved.buffer.lastUse = this.#resources.queue.serial
    return resolved
  }
}
