import type { Profiler } from './profiler.ts'
import type { CopyCommand, Launch, WriteCommand } from './stream.ts'

/** What a device was given so far. */
export interface WorkCounts {
  submits: number
  dispatches: number
}

/**
 * Encodes one batch of work and submits it: commands go into one command buffer, and dispatches without copies between into one
 * compute pass, until `submit()`. With a profiler every dispatch has a pass of its own.
 */
export class Encoding {
  readonly #device: GPUDevice
  readonly #counts: WorkCounts
  readonly #profiler: Profiler | undefined
  #encoder: GPUCommandEncoder | undefined
  #pass: GPUComputePassEncoder | undefined
  /** What the pass has set. */
  #pipeline: GPUComputePipeline | undefined
  #bindGroup: GPUBindGroup | undefined

  /** @param counts are kept up */
  constructor(device: GPUDevice, counts: WorkCounts, profiler: Profiler | undefined) {
    this.#device = device
    this.#counts = counts
    this.#profiler = profiler
  }

  /**
   * One whose pipeline did not compile is left out: that was reported.
   * @param paramGroup and the offset in bytes where its parameter block is
   * @param stream names the command buffer
   */
  dispatch(launch: Launch, paramGroup: GPUBindGroup, params: number, stream: string): void {
    const { kernel, bindGroup, grid } = launch
    const { pipeline } = kernel
    if (!pipeline) return
    if (this.#profiler) this.#endPass()
    if (!this.#pass) {
      this.#pass = this.#commands(stream).beginComputePass(this.#profiler?.pass(launch))
      this.#pipeline = this.#bindGroup = undefined
    }
    if (pipeline !== this.#pipeline) this.#pass.setPipeline(pipeline)
    if (bindGroup !== this.#bindGroup) this.#pass.setBindGroup(0, bindGroup)
    this.#pipeline = pipeline
    this.#bindGroup = bindGroup
    this.#pass.setBindGroup(1, paramGroup, [params])
    this.#pass.dispatchWorkgroups(grid[0], grid[1], grid[2])
    this.#counts.dispatches++
  }

  copy({ source, sourceOffset, target, targetOffset, bytes }: Omit<CopyCommand, 'kind'>, stream: string): void {
    this.#endPass()
    this.#commands(stream).copyBufferToBuffer(source, sourceOffset, target, targetOffset, bytes)
    this.#profiler?.note('copy', [
      { buffer: source, write: false },
      { buffer: target, write: true },
    ])
  }

  /** Hands over what was encoded, then data for a buffer, before what comes next. */
  write({ target, offset, data }: Omit<WriteCommand, 'kind'>): void {
    this.submit()
    this.#device.queue.writeBuffer(target, offset, data)
    this.#profiler?.note('upload', [{ buffer: target, write: true }])
  }

  /** Hands over what was encoded, before what comes next. */
  submit(): void {
    this.#endPass()
    if (!this.#encoder) return
    this.#device.queue.submit([this.#encoder.finish()])
    this.#counts.submits++
    this.#encoder = undefined
  }

  /** Submits the rest. */
  end(stream: string): void {
    this.#endPass()
    if (this.#profiler) this.#profiler.resolve(this.#commands(stream))
    this.submit()
  }

  #commands(label: string): GPUCommandEncoder {
    this.#encoder ??= this.#device.createCommandEncoder({ label })
    return this.#encoder
  }

  #endPass(): void {
    this.#pass?.end()
    this.#pass = undefined
  }
}
