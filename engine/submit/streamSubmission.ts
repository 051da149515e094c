import { Encoding, type WorkCounts } from './encoding.ts'
import { PARAM_SLOT } from './pipelines.ts'
import type { Profiler } from './profiler.ts'
import { giveBlocks, type RecordedStream } from './stream.ts'
import type { Work } from './submissionQueue.ts'

/** Dispatches whose parameters fit one write of the uniform ring. */
const RING_SLOTS = 512

/** Makes work for the submission queue from recorded streams, whose parameters go through one uniform ring. */
export class StreamSubmission {
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
