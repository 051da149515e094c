import { type KernelSpec, runsOn } from '../../kernels/spec.ts'
import type { Device } from '../device/device.ts'
import type { Binding } from '../memory/bindings.ts'
import type { DeviceBuffer } from '../memory/plannedMemory.ts'
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

/**
 * The problems that `fn` would launch kernels of several variants with, one a shape class. Nothing is run, no memory is taken;
 * what `fn` counts on the host is counted. It must not read values.
 */
export function extractTasks(device: Device, fn: () => void): TuningTask[] {
  const found = new Map<string, TuningTask>()
  device.observer = (spec, problem, ranges, variantName) => {
    const runs = spec.variants.filter((variant) => runsOn(spec, variant, device.capabilities, problem))
    if (runs.length < 2 || variantName !== undefined || device.pinned.has(spec.name)) return
    const key = tuningKey(spec, problem, device.capabilities)
    const known = found.get(key)
    if (known) known.count++
    else found.set(key, { key, spec, problem, ...memoryOf(ranges), count: 1 })
  }
  try {
    const { graph } = device.record(() => {
      scope(() => {
        fn()
      })
    })
    graph.dispose()
  } finally {
    device.observer = undefined
  }
  return [...found.values()]
}

/** Bytes from the first used one to the last of every distinct buffer. */
function memoryOf(ranges: readonly Binding[]): Pick<TuningTask, 'buffers' | 'operands'> {
  const spans = new Map<DeviceBuffer, { from: number; to: number }>()
  for (const { buffer, offset, end = buffer.bytes } of ranges) {
    const span = spans.get(buffer)
    if (!span) spans.set(buffer, { from: offset, to: end })
    else Object.assign(span, { from: Math.min(span.from, offset), to: Math.max(span.to, end) })
  }
  const distinct = [...spans.keys()]
  return {
    // In whole words.
    buffers: [...spans.values()].map(({ from, to }) => 4 * Math.ceil((to - from) / 4)),
    operands: ranges.map(({ buffer, offset }) => ({
      buffer: distinct.indexOf(buffer),
      offset: offset - spans.get(buffer)!.from,
    })),
  }
}
