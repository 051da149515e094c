import type { Device, Profiler } from '../engine/index.ts'
import { type Quantiles, quantiles } from './statistics.ts'

/** `device`: timestamps around every dispatch; `wall`: the host's clock around launches back to back and a synchronize. */
export type Timer = 'device' | 'wall'

/** How long to measure, in milliseconds. */
export interface Budget {
  warmup: number
  time: number
  /** Runs measured at least, however long they take. */
  least: number
}

export interface Timing extends Quantiles {
  timer: Timer
  /** What the quantiles were taken over. */
  samples: number
}

export interface BenchOptions extends Budget {
  /** Takes the time from the device's clock; without one the host's is used. */
  profiler?: Profiler | undefined
  /** Records what empties the caches before each run. Only the device's clock can leave it out of the time. */
  flush?: (() => void) | undefined
}

/** Samples that a budget is divided into. */
const SAMPLES = 20
/** Dispatches between two looks at the device's clock: what one query set holds, twice. */
const TIMED_DISPATCHES = 1000

/** Budgets by what the device is; `quick` only shows that everything runs. */
export function budgetOf(software: boolean, quick: boolean): Budget {
  if (quick) return { warmup: 0, time: 20, least: 1 }
  return { warmup: 50, time: software ? 300 : 200, least: 3 }
}

/**
 * Milliseconds of one run of what `record` records into the device's current stream (Triton's `do_bench`): first once, which
 * compiles, then a warm-up, then runs for a time.
 * @throws whatever the driver reports
 */
export async function doBench(device: Device, record: () => void, options: BenchOptions): Promise<Timing> {
  record()
  await device.synchronize()
  const estimate = await warmUp(device, record, options.warmup)
  const { profiler } = options
  return profiler ? onDevice(device, profiler, record, estimate, options) : onHost(device, record, estimate, options)
}

/** Runs for a while and returns roughly how long one run takes, on the host's clock. */
async function warmUp(device: Device, record: () => void, milliseconds: number): Promise<number> {
  const began = performance.now()
  let fastest = Number.POSITIVE_INFINITY
  do {
    const start = performance.now()
    record()
    await device.synchronize()
    fastest = Math.min(fastest, performance.now() - start)
  } while (performance.now() - began < milliseconds)
  return fastest
}

async function onHost(device: Device, record: () => void, estimate: number, { time, least }: Budget): Promise<Timing> {
  const runs = Math.max(1, Math.round(time / SAMPLES / estimate))
  const samples: number[] = []
  const began = performance.now()
  while (samples.length < least || performance.now() - began < time) {
    const start = performance.now()
    for (let i = 0; i < runs; i++) record()
    await device.synchronize()
    samples.push((performance.now() - start) / runs)
  }
  return { ...quantiles(samples), timer: 'wall', samples: samples.length }
}

async function onDevice(
  device: Device,
  profiler: Profiler,
  record: () => void,
  estimate: number,
  { time, least, flush }: BenchOptions,
): Promise<Timing> {
  device.profiler = profiler
  try {
    const measure = async (runs: number) => {
      for (let i = 0; i < runs; i++) {
        flush?.()
        record()
      }
      await device.synchronize()
      return profiler.collect()
    }
    // How many dispatches make a run, which the profiler does not know.
    const dispatches = (await measure(1)).length
    const most = Math.max(1, Math.floor(TIMED_DISPATCHES / dispatches))
    const runs = Math.min(most, Math.max(1, Math.round(time / SAMPLES / estimate)))
    const samples: number[] = []
    const began = performance.now()
    while (samples.length < least || performance.now() - began < time) {
      const timed = await measure(runs)
      for (let i = 0; i < timed.length; i += dispatches) {
        const run = timed.slice(i, i + dispatches)
        samples.push(run.reduce((sum, { begin, end }) => sum + (end - begin), 0) / 1e6)
      }
    }
    return { ...quantiles(samples), timer: 'device', samples: samples.length }
  } finally {
    device.profiler = undefined
  }
}
