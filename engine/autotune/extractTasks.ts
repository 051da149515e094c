import { type KernelSpec, runsOn } from '../../kernels/spec.ts'
import type { Device } from '../device/device.ts'
import { GraphRecorder } from '../device/graphRecorder.ts'
import type { KernelLaunch } from '../device/recorder.ts'
import type { Binding } from '../memory/bindings.ts'
import type { DeviceBuffer } from '../memory/deviceBuffer.ts'
import { scope } from '../tensor/scope.ts'
import { tuningKey } from './tuned.ts'

/** A kernel and a problem to find the fastest variant for, with the sizes of its memory, so that it can be launched on other memory. */
export interface TuningTask {
  /** The task's key in the database, see `tuningKey`. */
  key: string
  spec: KernelSpec
  problem: any
  /** The bytes of each buffer. */
  buffers: number[]
  /** By binding, the index of its buffer and its start in the buffer, in bytes. */
  operands: { buffer: number; offset: number }[]
  /** The number of launches with this key. */
  count: number
}

/** Lists the launches for which several variants could run, one task a shape class, instead of executing them. */
class TaskRecorder extends GraphRecorder {
  readonly tasks = new Map<string, TuningTask>()
  readonly #device: Device

  constructor(device: Device) {
    super(device.kernels, device.pool)
    this.#device = device
  }

  override dispatch({ spec, problem, bindings, variant }: KernelLaunch): void {
    const { capabilities, kernels } = this.#device
    const candidates = spec.variants.filter((candidate) => runsOn(spec, candidate, capabilities, problem))
    if (candidates.length < 2 || variant !== undefined || kernels.pinned.has(spec.name)) return
    const key = tuningKey(spec, problem, capabilities)
    const known = this.tasks.get(key)
    if (known) known.count++
    else this.tasks.set(key, { key, spec, problem, ...memoryOf(bindings), count: 1 })
  }
}

/**
 * Lists the tuning tasks of the kernels that `fn` launches. Nothing is executed and no memory is allocated, but the host's state changes as
 * in a run, such as the counter of random streams. `fn` must not read values.
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

/** The distinct buffers of the bindings, each cut to the range that they use, and the place of each binding. */
function memoryOf(bindings: readonly Binding[]): Pick<TuningTask, 'buffers' | 'operands'> {
  const ranges = new Map<DeviceBuffer, { from: number; to: number }>()
  for (const { buffer, offset, end = buffer.bytes } of bindings) {
    const range = ranges.get(buffer)
    if (!range) ranges.set(buffer, { from: offset, to: end })
    else Object.assign(range, { from: Math.min(range.from, offset), to: Math.max(range.to, end) })
  }
  const distinct = [...ranges.keys()]
  return {
    // Buffers hold whole words.
    buffers: [...ranges.values()].map(({ from, to }) => 4 * Math.ceil((to - from) / 4)),
    operands: bindings.map(({ buffer, offset }) => ({
      buffer: distinct.indexOf(buffer),
      offset: offset - ranges.get(buffer)!.from,
    })),
  }
}
