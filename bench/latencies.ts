import type { Device } from '../engine/index.ts'
import type { Binding } from '../engine/memory/bindings.ts'
import { touch } from './ceilingKernels.ts'
import type { Budget } from './doBench.ts'
import { quantiles } from './statistics.ts'

/** Number of dispatches that are compared with one dispatch. */
const MANY = 100

/** Measures the costs of one more dispatch, one more submit, and a read of 4 KB by the host's clock, in µs. */
export function latencies(device: Device, budget: Budget): Promise<{ dispatch: number; submit: number; readback: number }> {
  return withTouches(device, async (touches) => {
    const single = await microseconds(() => touches.run(1, false), budget)
    const together = await microseconds(() => touches.run(MANY, false), budget)
    const apart = await microseconds(() => touches.run(MANY, true), budget)
    const readback = await microseconds(touches.read, budget)
    return { dispatch: costOfOneMore(single, together), submit: costOfOneMore(together, apart), readback }
  })
}

/** Measures the cost of one more dispatch by the host's clock, in µs. */
export function dispatchCost(device: Device, budget: Budget): Promise<number> {
  return withTouches(device, async (touches) => {
    const single = await microseconds(() => touches.run(1, false), budget)
    return costOfOneMore(single, await microseconds(() => touches.run(MANY, false), budget))
  })
}

/** Returns the cost of one repetition, where `many` has `MANY - 1` repetitions more than `few`. */
function costOfOneMore(few: number, many: number): number {
  return Math.max(0, many - few) / (MANY - 1)
}

/** Dispatches that each add 1 to a number on the device. */
interface Touches {
  /** Dispatches a number of times, in one submit or each in its own, and waits for the device. */
  run(count: number, flushEach: boolean): Promise<void>
  /** Reads 4 KB. @throws Error unless the number is that of all dispatches so far */
  read(): Promise<void>
}

/** Calls `use` with dispatches on a buffer of 4 KB. @throws Error unless the device has done all of them */
function withTouches<T>(device: Device, use: (touches: Touches) => Promise<T>): Promise<T> {
  return withBuffers(device, [4096], async ([range]) => {
    device.write(range!, new Uint32Array(1024))
    let all = 0
    const touches: Touches = {
      run(count, flushEach) {
        all += count
        for (let i = 0; i < count; i++) {
          device.dispatch(touch, { step: 1 }, [range!])
          if (flushEach) device.flush()
        }
        return device.synchronize()
      },
      async read() {
        const [found] = new Uint32Array(await device.read(range!, 4096))
        if (found !== all) throw new Error(`the device did ${found} of ${all} dispatches`)
      },
    }
    const found = await use(touches)
    await touches.read()
    return found
  })
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
