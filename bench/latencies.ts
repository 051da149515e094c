import type { Device } from '../engine/index.ts'
import type { Binding } from '../engine/memory/bindings.ts'
import { touch } from './ceilingKernels.ts'
import type { Budget } from './doBench.ts'
import { quantiles } from './statistics.ts'

/** Number of dispatches that are compared with one dispatch. */
const MANY = 100

/** Measures the costs of one more dispatch, one more submit, and a read of 4 KB by the host's clock, in µs. */
export function latencies(device: Device, budget: Budget): Promise<{ dispatch: number; submit: number; readback: number }> {
  return withBuffers(device, [4096], async ([range]) => {
    const single = await microseconds(() => touchOften(device, range!, 1, false), budget)
    const together = await microseconds(() => touchOften(device, range!, MANY, false), budget)
    const apart = await microseconds(() => touchOften(device, range!, MANY, true), budget)
    const readback = await microseconds(() => device.read(range!, 4096), budget)
    return { dispatch: costOfOneMore(single, together), submit: costOfOneMore(together, apart), readback }
  })
}

/** Measures the cost of one more dispatch by the host's clock, in µs. */
export function dispatchCost(device: Device, budget: Budget): Promise<number> {
  return withBuffers(device, [4096], async ([range]) => {
    const single = await microseconds(() => touchOften(device, range!, 1, false), budget)
    return costOfOneMore(single, await microseconds(() => touchOften(device, range!, MANY, false), budget))
  })
}

/** Returns the cost of one repetition, where `many` has `MANY - 1` repetitions more than `few`. */
function costOfOneMore(few: number, many: number): number {
  return Math.max(0, many - few) / (MANY - 1)
}

/** Dispatches `touch` a number of times, in one submit or each in its own, and waits for the device. */
function touchOften(device: Device, range: Binding, count: number, flushEach: boolean): Promise<void> {
  for (let i = 0; i < count; i++) {
    device.dispatch(touch, { step: 1 }, [range])
    if (flushEach) device.flush()
  }
  return device.synchronize()
}

/** Measures the 20th percentile of the times of several rounds by the host's clock, in µs. */
async function microseconds(round: () => Promise<unknown>, { time }: Budget): Promise<number> {
  await round()
  const samples: number[] = []
  const began = performance.now()
  while (samples.length < 5 || performance.now() - began < time) {
    const start = performance.now()
    await round()
    samples.push(performance.now() - start)
  }
  return quantiles(samples).p20 * 1000
}

/** Calls `use` with buffers of these sizes in bytes, and releases them when it has ended. */
export async function withBuffers<T>(
  device: Device,
  sizes: readonly number[],
  use: (ranges: Binding[]) => Promise<T>,
): Promise<T> {
  const buffers = sizes.map((bytes) => device.acquire(bytes))
  try {
    return await use(buffers.map((buffer) => ({ buffer, offset: 0 })))
  } finally {
    for (const buffer of buffers) device.release(buffer)
  }
}
