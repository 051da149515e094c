import { ValidationError } from './errors.ts'
import { PARAM_SLOT } from './pipelines.ts'
import type { Profiler } from './profiler.ts'
import { type DispatchCommand, giveBlocks, type Recording } from './stream.ts'

/** Dispatches whose parameters fit one write of the uniform ring. */
const RING_SLOTS = 512

/** What a device was given so far. */
export interface WorkCounts {
  submits: number
  dispatches: number
}

/** Encodes recordings and submits them: one command encoder and, without copies between, one compute pass a recording. */
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
  submit(recording: Recording, profiler: Profiler | undefined): Promise<Error | undefined> {
    return errorOf(
      this.#device,
      () => opNames(recording),
      () => this.#encode(recording, profiler),
    )
  }

  #encode(recording: Recording, profiler: Profiler | undefined): void {
    const device = this.#device
    let encoder: GPUCommandEncoder | undefined
    let pass: GPUComputePassEncoder | undefined
    let written = 0
    const endPass = () => {
      pass?.end()
      pass = undefined
    }
    const endEncoder = () => {
      endPass()
      if (encoder) {
        device.queue.submit([encoder.finish()])
        this.#counts.submits++
      }
      encoder = undefined
    }
    for (const command of recording.commands) {
      if (command.kind === 'write') {
        endEncoder()
        device.queue.writeBuffer(command.target, command.offset, command.data)
        continue
      }
      if (command.kind === 'dispatch' && command.slot >= written) {
        // The ring is rewritten between submits, which the queue keeps in order.
        endEncoder()
        const slots = Math.min(RING_SLOTS, recording.slots - written)
        device.queue.writeBuffer(this.#ring, 0, recording.params.u32, (written * PARAM_SLOT) / 4, (slots * PARAM_SLOT) / 4)
        written += slots
      }
      encoder ??= device.createCommandEncoder({ label: recording.stream })
      if (command.kind === 'copy') {
        endPass()
        encoder.copyBufferToBuffer(command.source, command.sourceOffset, command.target, command.targetOffset, command.bytes)
        continue
      }
      // One whose pipeline did not compile was reported.
      if (!command.kernel.pipeline) continue
      if (profiler) {
        endPass()
        pass = encoder.beginComputePass(
          profiler.pass({ op: command.op, kernel: command.kernel.label, streams: [recording.stream], barriers: [] }),
        )
      }
      pass ??= encoder.beginComputePass()
      this.#dispatch(pass, command)
    }
    endPass()
    if (profiler) {
      encoder ??= device.createCommandEncoder({ label: recording.stream })
      profiler.resolve(encoder)
    }
    endEncoder()
    giveBlocks(recording.params)
  }

  #dispatch(pass: GPUComputePassEncoder, { kernel, bindGroup, slot, grid }: DispatchCommand): void {
    pass.setPipeline(kernel.pipeline!)
    pass.setBindGroup(0, bindGroup)
    pass.setBindGroup(1, this.#ringGroup, [(slot % RING_SLOTS) * PARAM_SLOT])
    pass.dispatchWorkgroups(...grid)
    this.#counts.dispatches++
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
function opNames(recording: Recording): string {
  const names = new Set<string>()
  for (const command of recording.commands) {
    if (command.kind === 'dispatch') names.add(`${command.op} [${command.kernel.label}]`)
  }
  const list = [...names]
  return list.slice(0, 8).join(', ') + (list.length > 8 ? ` and ${list.length - 8} more` : '')
}
