import { ParamSlots } from './paramSlots.ts'
import { type CompiledKernel, PARAM_SLOT } from './pipelines.ts'
import type { Profiler } from './profiler.ts'
import { type CopyCommand, giveBlocks, type Launch, MOST_LAUNCHES, type RecordedStream, type WriteCommand } from './stream.ts'
import type { Work, WorkCounts } from './submissionQueue.ts'

/**
 * Encodes commands and submits them. Commands go into one command buffer until `submit()`, and consecutive dispatches into one compute
 * pass. With a profiler every dispatch has a pass of its own.
 */
export class Encoding {
  readonly #device: GPUDevice
  readonly #counts: WorkCounts
  readonly #profiler: Profiler | undefined
  #encoder: GPUCommandEncoder | undefined
  #pass: GPUComputePassEncoder | undefined
  /** The pipeline and the bind groups that the pass has set. */
  #pipeline: GPUComputePipeline | undefined
  #bindGroup: GPUBindGroup | undefined
  #params: GPUBindGroup | undefined

  /** @param counts counts what is submitted */
  constructor(device: GPUDevice, counts: WorkCounts, profiler: Profiler | undefined) {
    this.#device = device
    this.#counts = counts
    this.#profiler = profiler
  }

  /**
   * Encodes a dispatch. A dispatch is left out when its pipeline did not compile, which the queue has reported.
   * @param params the bind group of the parameter block
   * @param stream names the command buffer
   */
  dispatch(launch: Launch, params: GPUBindGroup, stream: string): void {
    const { kernel, bindGroup, grid } = launch
    const { pipeline } = kernel
    if (!pipeline) return
    if (this.#profiler) this.#endPass()
    if (!this.#pass) {
      this.#pass = this.#commands(stream).beginComputePass(this.#profiler?.pass(launch))
      this.#pipeline = this.#bindGroup = this.#params = undefined
    }
    if (pipeline !== this.#pipeline) this.#pass.setPipeline(pipeline)
    if (bindGroup !== this.#bindGroup) this.#pass.setBindGroup(0, bindGroup)
    if (params !== this.#params) this.#pass.setBindGroup(1, params)
    this.#pipeline = pipeline
    this.#bindGroup = bindGroup
    this.#params = params
    this.#pass.dispatchWorkgroups(grid[0], grid[1], grid[2])
    this.#counts.dispatches++
  }

  /** Encodes a copy. @param stream names the command buffer */
  copy({ source, sourceOffset, target, targetOffset, bytes }: Omit<CopyCommand, 'kind'>, stream: string): void {
    this.#endPass()
    this.#commands(stream).copyBufferToBuffer(source, sourceOffset, target, targetOffset, bytes)
    this.#profiler?.note('copy', [
      { buffer: source, write: false },
      { buffer: target, write: true },
    ])
  }

  /** Submits what is encoded, then writes to a buffer, so that later commands find the data. */
  write({ target, offset, data }: Omit<WriteCommand, 'kind'>): void {
    this.submit()
    this.#device.queue.writeBuffer(target, offset, data)
    this.#profiler?.note('upload', [{ buffer: target, write: true }])
  }

  /** Submits what is encoded. */
  submit(): void {
    this.#endPass()
    if (!this.#encoder) return
    this.#device.queue.submit([this.#encoder.finish()])
    this.#counts.submits++
    this.#encoder = undefined
  }

  /** Ends the batch: resolves the profiler's timestamps and submits what is encoded. */
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

/** Makes recorded streams into work for the submission queue. Their parameters go into the same blocks, one stream after the other. */
export class StreamEncoder {
  readonly #device: GPUDevice
  readonly #blocks: ParamSlots
  readonly #counts: WorkCounts

  /** @param counts counts what is submitted */
  constructor(device: GPUDevice, paramLayout: GPUBindGroupLayout, counts: WorkCounts) {
    this.#device = device
    this.#counts = counts
    this.#blocks = new ParamSlots(device, paramLayout, MOST_LAUNCHES)
  }

  /** Makes the commands of a stream into work for the submission queue. */
  workOf(recorded: RecordedStream): Work {
    const { commands } = recorded
    const kernels = new Set<CompiledKernel>()
    let ops = 0
    for (const command of commands) {
      if (command.kind !== 'dispatch') continue
      kernels.add(command.kernel)
      ops += command.launches
    }
    return {
      kernels,
      ops,
      submit: (profiler) => this.#encode(recorded, profiler),
      describe: () => opNames(recorded),
    }
  }

  #encode(recorded: RecordedStream, profiler: Profiler | undefined): void {
    const { commands, params, slots, stream } = recorded
    const encoding = new Encoding(this.#device, this.#counts, profiler)
    // The device's queue orders submits and writes, so the blocks can be written again while earlier streams run.
    if (slots > 0) this.#blocks.write(0, params.u32.subarray(0, (slots * PARAM_SLOT) / 4))
    for (const command of commands) {
      if (command.kind === 'write') encoding.write(command)
      else if (command.kind === 'copy') encoding.copy(command, stream)
      else encoding.dispatch(command, this.#blocks.groups[command.slot]!, stream)
    }
    encoding.end(stream)
    giveBlocks(params)
  }
}

/** Names the distinct ops of a stream, for an error message. */
function opNames(recorded: RecordedStream): string {
  const names = new Set<string>()
  for (const command of recorded.commands) {
    if (command.kind === 'dispatch') names.add(`${command.op} [${command.kernel.label}]`)
  }
  const list = [...names]
  return list.slice(0, 8).join(', ') + (list.length > 8 ? ` and ${list.length - 8} more` : '')
}
