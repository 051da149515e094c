import { type KernelSpec, runsOn } from '../../kernels/spec.ts'
import type { Device } from '../device/device.ts'
import { GraphRecorder } from '../device/graphRecorder.ts'
import type { KernelLaunch } from '../device/recorder.ts'
import type { Binding } from '../memory/bindings.ts'
import type { DeviceBuffer } from '../memory/deviceBuffer.ts'
import { scope } from '../tensor/scope.ts'
import { tuningKey } from './tuned.ts'

/** What a kernel is launched with, so that it can be launched again on other memory. */
export interface TuningTask {
  /** See `tuningKey`. */
  key: string
  spec: KernelSpec
  problem: any
  /** Bytes of each buffer that the bindings lie in. */
  buffers: number[]
  /** For every binding its buffer, and where in it it starts. */
  operands: { buffer: number; offset: number }[]
  /** How often it is launched. */
  count: number
}

/** Lists the kernels that a step launches, where several variants could run them, one task a shape class. */
class TaskRecorder extends GraphRecorder {
  readonly tasks = new Map<string, TuningTask>()
  readonly #device: Device

  constructor(device: Device) {
    super(device.kernels, device.pool)
    this.#device = device
  }

  override dispatch({ spec, problem, bindings, variant }: KernelLaunch): void {
    const { capabilities, kernels } = this.#device
    const runs = spec.variants.filter((one) => runsOn(spec, one, capabilities, problem))
    if (runs.length < 2 || variant !== undefined || kernels.pinned.has(spec.name)) return
    const key = tuningKey(spec, problem, capabilities)
    const known = this.tasks.get(key)
    if (known) known.count++
    else this.tasks.set(key, { key, spec, problem, ...memoryOf(bindings), count: 1 })
  }
}

/**
 * The tasks of the kernels that `fn` would launch. Nothing is executed and no memory is taken, but the host's counters go on as they
 * would. `fn` must not read values.
 */
export function extractTasks(device: Device, fn: () => void): TuningTask[] {
  const recorder = new TaskRecorder(device)
  try {
    device.recordWith(recorder, () => {
      scope(() => {
        fn()
      })
    })
  } finally {
    recorder.graph.dispose()
  }
  return [...recorder.tasks.values()]
}

/** Bytes from the first used one to the last of every distinct buffer. */
function memoryOf(bindings: readonly Binding[]): Pick<TuningTask, 'buffers' | 'operands'> {
  const spans = new Map<DeviceBuffer, { from: number; to: number }>()
  for (const { buffer, offset, end = buffer.bytes } of bindings) {
    const span = spans.get(buffer)
    if (!span) spans.set(buffer, { from: offset, to: end })
    else Object.assign(span, { from: Math.min(span.from, offset), to: Math.max(span.to, end) })
  }
  const distinct = [...spans.keys()]
  return {
    // In whole words.
    buffers: [...spans.values()].map(({ from, to }) => 4 * Math.ceil((to - from) / 4)),
    operands: bindings.map(({ buffer, offset }) => ({
      buffer: distinct.indexOf(buffer),
      offset: offset - spans.get(buffer)!.from,
    })),
  }
}
