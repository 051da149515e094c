import { ValidationError } from '../base/errors.ts'
import { Encoding, type WorkCounts } from './encoding.ts'
import { PARAM_SLOT } from './pipelines.ts'
import type { Profiler } from './profiler.ts'
import { giveBlocks, type RecordedStream } from './stream.ts'

/** Dispatches whose parameters fit one write of the uniform ring. */
const RING_SLOTS = 512

/** Submits recordings. */
export class Submission {
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

  /**
   * Submits a recording whose pipelines are compiled.
   * @returns settles with the first error the driver reports for it, or undefined
   */
  submit(recording: RecordedStream, profiler: Profiler | undefined): Promise<Error | undefined> {
    return errorOf(
      this.#device,
      () => opNames(recording),
      () => this.#encode(recording, profiler),
    )
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

/**
 * Submits, and says what the driver found wrong with it.
 * @param by what recorded it, for the message
 * @returns settles with the first error the driver reports, or undefined
 */
export function errorOf(device: GPUDevice, by: string | (() => string), submit: () => void): Promise<Error | undefined> {
  device.pushErrorScope('out-of-memory')
  device.pushErrorScope('validation')
  submit()
  const validation = device.popErrorScope()
  const memory = device.popErrorScope()
  return Promise.all([validation, memory]).then(
    ([first, second]) => {
      const error = first ?? second
      if (!error) return undefined
      return new ValidationError(`${error.message.trim()} (recorded by ${typeof by === 'string' ? by : by()})`)
    },
    () => undefined,
  )
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
