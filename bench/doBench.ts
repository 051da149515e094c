import { checkOptions, type OptionNames } from '../engine/base/options.ts'
import type { Device, ProfiledDispatch, Profiler } from '../engine/index.ts'
import { checkComputed, disposeAll, type Outputs } from './outputs.ts'
import { type Quantiles, quantiles } from './statistics.ts'

/** `device`: timestamps around every dispatch; `wall`: the host's clock around launches back to back and a synchronize. */
export type Timer = 'device' | 'wall'

/** How long to measure, in milliseconds. */
export interface Budget {
  warmup: number
  time: number
  /** Samples taken at least, however long they take. */
  least: number
}

export interface Timing extends Quantiles {
  timer: Timer
  /** What the quantiles were taken over. */
  samples: number
  /** Milliseconds of the fastest sample. */
  fastest: number
}

export interface BenchOptions extends Budget {
  /** Takes the time from the device's clock; without one the host's is used. */
  profiler?: Profiler | undefined
  /** Records what empties the caches before each run. Only the device's clock can leave it out of the time. */
  flush?: (() => void) | undefined
  /**
   * Looks at the values of the last timed run, which are read once outside the time, and throws when they are wrong; default
   * `checkComputed`.
   */
  confirm?: ((values: readonly ArrayLike<number>[]) => void) | undefined
}

const OPTIONS: OptionNames<BenchOptions> = {
  warmup: true,
  time: true,
  least: true,
  profiler: true,
  flush: true,
  confirm: true,
}

/** Samples that a budget is divided into. */
const SAMPLES = 20
/** Runs of a sample at most, for clocks that see none of them. */
const MOST_RUNS = 10_000
/** Dispatches between two looks at the device's clock: what one query set holds, twice. */
const TIMED_DISPATCHES = 1000

/** Budgets by what the device is; `quick` only shows that everything runs. */
export function budgetOf(software: boolean, quick: boolean): Budget {
  if (quick) return { warmup: 0, time: 20, least: 1 }
  return { warmup: 50, time: software ? 300 : 200, least: 3 }
}

/**
 * Milliseconds of one run of what `record` records into the device's current stream (Triton's `do_bench`): first once, which
 * compiles, then a warm-up, then runs for a time. The outputs of a run are freed before the next; those of the last are read.
 * @param record gives what a run computes, whole
 * @throws Error when a run gives nothing, dispatches nothing, or another number of dispatches than the first; when the clock sees no
 *   time pass; when `confirm` finds wrong values; and whatever the driver reports
 */
export async function doBench(device: Device, record: () => Outputs, options: BenchOptions): Promise<Timing> {
  checkOptions('doBench', options ?? null, OPTIONS)
  const runs = new Runs(device, record)
  try {
    await runs.first()
    const estimate = await warmUp(device, runs.run, options.warmup)
    const { profiler, confirm = checkComputed } = options
    const samples = await (profiler
      ? onDevice(device, profiler, runs.run, estimate, options)
      : onHost(device, runs.run, estimate, options))
    confirm(await runs.values())
    return {
      ...quantiles(samples),
      timer: profiler ? 'device' : 'wall',
      samples: samples.length,
      fastest: Math.min(...samples),
    }
  } finally {
    runs.dispose()
  }
}

/** Runs something again and again, and sees to it that each run does work whose results are kept. */
class Runs {
  readonly #device: Device
  readonly #record: () => Outputs
  #last: readonly Outputs[number][] = []
  #count = 0
  #before = 0
  #perRun = 0

  constructor(device: Device, record: () => Outputs) {
    this.#device = device
    this.#record = record
  }

  readonly run = (): void => {
    this.dispose()
    this.#count++
    this.#last = this.#record()
  }

  /** The first run, which compiles. */
  async first(): Promise<void> {
    await this.#device.synchronize()
    this.#before = this.#device.counts.dispatches
    this.run()
    const outputs: unknown = this.#last
    if (!Array.isArray(outputs) || outputs.length === 0) {
      this.#last = []
      const what = outputs instanceof Promise ? 'a promise' : Array.isArray(outputs) ? 'no outputs' : typeof outputs
      throw new Error(`a run gives ${what}; it must give what it computes, at once, or its work may be left out`)
    }
    await this.#device.synchronize()
    this.#perRun = this.#device.counts.dispatches - this.#before
    if (this.#perRun === 0) throw new Error('a run dispatches nothing to the device, so there is nothing to time')
  }

  /** What the last run computed. */
  async values(): Promise<ArrayLike<number>[]> {
    const values = await Promise.all(this.#last.map((output) => output.data()))
    const dispatches = this.#device.counts.dispatches - this.#before
    const expected = this.#count * this.#perRun
    if (dispatches !== expected) {
      throw new Error(
        `${this.#count} runs dispatched ${dispatches} times; the first had ${this.#perRun}, so ${expected} were due`,
      )
    }
    return values
  }

  dispose(): void {
    disposeAll(this.#last)
    this.#last = []
  }
}

/** Runs for a while and returns roughly how long one run takes, on the host's clock. */
async function warmUp(device: Device, run: () => void, milliseconds: number): Promise<number> {
  const began = performance.now()
  let fastest = Number.POSITIVE_INFINITY
  do {
    const start = performance.now()
    run()
    await device.synchronize()
    fastest = Math.min(fastest, performance.now() - start)
  } while (performance.now() - began < milliseconds)
  return fastest
}

/** Runs that fill a sample. */
function runsOf(time: number, estimate: number): number {
  return Math.min(MOST_RUNS, Math.max(1, Math.round(time / SAMPLES / estimate)))
}

async function onHost(device: Device, run: () => void, estimate: number, { time, least }: Budget): Promise<number[]> {
  const runs = runsOf(time, estimate)
  const samples: number[] = []
  const began = performance.now()
  while (samples.length < least || performance.now() - began < time) {
    const start = performance.now()
    for (let i = 0; i < runs; i++) run()
    await device.synchronize()
    samples.push((performance.now() - start) / runs)
  }
  return passing(samples)
}

async function onDevice(
  device: Device,
  profiler: Profiler,
  run: () => void,
  estimate: number,
  { time, least, flush }: BenchOptions,
): Promise<number[]> {
  device.profiler = profiler
  try {
    const measure = async (runs: number) => {
      for (let i = 0; i < runs; i++) {
        flush?.()
        run()
      }
      await device.synchronize()
      return profiler.collect()
    }
    // How many dispatches make a run, which the profiler does not know.
    const dispatches = (await measure(1)).length
    const most = Math.max(1, Math.floor(TIMED_DISPATCHES / dispatches))
    const runs = Math.min(most, runsOf(time, estimate))
    const samples: number[] = []
    const means: number[] = []
    const began = performance.now()
    while (samples.length < least || performance.now() - began < time) {
      const timed = await measure(runs)
      const each = Array.from({ length: runs }, (_, i) => milliseconds(timed.slice(i * dispatches, (i + 1) * dispatches)))
      samples.push(...each)
      means.push(each.reduce((sum, one) => sum + one, 0) / runs)
    }
    // A coarse clock, as of browsers, sees many runs only.
    return passing(samples.every((sample) => sample > 0) ? samples : means)
  } finally {
    device.profiler = undefined
  }
}

function milliseconds(dispatches: readonly ProfiledDispatch[]): number {
  return dispatches.reduce((sum, { begin, end }) => sum + (end - begin), 0) / 1e6
}

/** @throws Error unless time passes in every sample: else rates would be infinite */
function passing(samples: number[]): number[] {
  const odd = samples.find((sample) => !(sample > 0 && Number.isFinite(sample)))
  if (odd !== undefined)
    throw new Error(`the clock saw a run take ${odd} ms: it is too coarse; give --time more, or another --timer`)
  return samples
}
