import { PARAM_SLOT } from './pipelines.ts'
import type { Profiler } from './profiler.ts'
import { type CopyCommand, giveBlocks, type Launch, type RecordedStream, type WriteCommand } from './stream.ts'
import type { Work, WorkCounts } from './submissionQueue.ts'

/** Dispatches whose parameters fit one write of the uniform ring. */
const RING_SLOTS = 512

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

/** Makes work for the submission queue from recorded streams, whose parameters go through one uniform ring. */
export class StreamEncoder {
  readonly #device: GPUDevice
  readonly #ring: GPUBuffer
  readonly #ringGroup: GPUBindGroup
  readonly #counts: WorkCounts

  /** @param counts are kept up */
  constructor(device: GPUDevice, paramLayout: GPUBindGroupLayout, counts: WorkCounts) {
    this.#device = device
    this.#counts = counts
    this.#ring = device.createBuffer({
      label: 'params',
      size: RING_SLOTS * PARAM_SLOT,
      usage: GPUBufferUsage.UNIFORM | GPUBufferUsage.COPY_DST,
    })
    this.#ringGroup = device.createBindGroup({
      layout: paramLayout,
      entries: [{ binding: 0, resource: { buffer: this.#ring, size: PARAM_SLOT } }],
    })
  }

  /** The commands of a stream as work for the submission queue. */
  workOf(recording: RecordedStream): Work {
    const { commands } = recording
    return {
      kernels: commands.flatMap((command) => (command.kind === 'dispatch' ? [command.kernel] : [])),
      submit: (profiler) => this.#encode(recording, profiler),
      describe: () => opNames(recording),
    }
  }

  #encode(recording: RecordedStream, profiler: Profiler | undefined): void {
    const { queue } = this.#device
    const { commands, params, slots, stream } = recording
    const encoding = new Encoding(this.#device, this.#counts, profiler)
    const paramGroup = this.#ringGroup
    let written = 0
    for (const command of commands) {
      if (command.kind === 'write') encoding.write(command)
      else if (command.kind === 'copy') encoding.copy(command, stream)
      else {
        const { slot } = command
        if (slot >= written) {
          // The ring is rewritten between submits, which the queue keeps in order.
          encoding.submit()
          const count = Math.min(RING_SLOTS, slots - written)
          queue.writeBuffer(this.#ring, 0, params.u32, (written * PARAM_SLOT) / 4, (count * PARAM_SLOT) / 4)
          written += count
        }
        encoding.dispatch(command, paramGroup, (slot % RING_SLOTS) * PARAM_SLOT, stream)
      }
    }
    encoding.end(stream)
    giveBlocks(params)
  }
}

/** The distinct ops of a recording, for an error message. */
function opNames(recording: RecordedStream): string {
  const names = new Set<string>()
  for (const command of recording.commands) {
    if (command.kind === 'dispatch') names.add(`${command.op} [${command.kernel.label}]`)
  }
  const list = [...names]
  return list.slice(0, 8).join(', ') + (list.length > 8 ? ` and ${list.length - 8} more` : '')
}
