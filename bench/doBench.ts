import { checkOptions, type OptionNames } from '../engine/base/options.ts'
import type { Device, ProfiledDispatch, Profiler } from '../engine/index.ts'
import { checkComputed, disposeAll, type Outputs } from './outputs.ts'
import { type Quantiles, quantiles } from './statistics.ts'

/** `device` takes timestamps around every dispatch; `wall` is the host's clock around consecutive runs and a synchronize. */
export type Timer = 'device' | 'wall'

/** The limits of a measurement. */
export interface Budget {
  /** Milliseconds of warm-up runs, which come before the timed ones. */
  warmup: number
  /** Milliseconds that all timed runs take together. */
  time: number
  /** Smallest number of samples, however long they take. */
  minSamples: number
}

/** Milliseconds of one run. */
export interface Timing extends Quantiles {
  timer: Timer
  /** Number of samples that the quantiles are taken over. */
  samples: number
  /** Milliseconds of the fastest sample. */
  fastest: number
}

export interface BenchOptions extends Budget {
  /** Times dispatches by the device's clock; without a profiler the host's clock is used. */
  profiler?: Profiler | undefined
  /** Records work that empties the caches before each run. It needs a profiler, because the host's clock would count that work. */
  flush?: (() => void) | undefined
  /**
   * Checks the values of the last timed run, which are read after the timing, and throws when they are wrong; default
   * `checkComputed`.
   */
  confirm?: ((values: readonly ArrayLike<number>[]) => void | Promise<void>) | undefined
}

const OPTIONS: OptionNames<BenchOptions> = {
  warmup: true,
  time: true,
  minSamples: true,
  profiler: true,
  flush: true,
  confirm: true,
}

/** Number of samples that the time of a budget is divided into. */
const SAMPLES = 20
/** Largest number of runs in a sample, for clocks that are too coarse to time a single run. */
const MOST_RUNS = 10_000
/** Dispatches whose timestamps are collected at a time. */
const TIMED_DISPATCHES = 1000

/** Returns the default budget for a software device or a GPU; with `quick` a short one that only shows that everything runs. */
export function budgetOf(software: boolean, quick: boolean): Budget {
  if (quick) return { warmup: 0, time: 10, minSamples: 1 }
  return { warmup: 50, time: software ? 300 : 200, minSamples: 3 }
}

/**
 * Times what `record` records into the device's current stream, as Triton's `do_bench` does: one run, which compiles, then a
 * warm-up, then timed runs. The outputs of a run are freed before the next run, and those of the last one are read.
 * @param record records one run and returns all that it computes
 * @returns milliseconds of one run
 * @throws Error when a run returns no outputs, dispatches nothing, or dispatches another number of times than the first; when
 *   the clock sees no time pass; when `confirm` finds wrong values; and whatever the driver reports
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
    await confirm(await runs.values())
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

/** Repeats a run, and checks that every run dispatches what the first one did and returns its outputs. */
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

  /** Makes the first run, which compiles. */
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

  /**
   * Reads the values that the last run computed.
   * @throws Error when some run dispatched another number of times than the first
   */
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

/** Repeats a run for some milliseconds. @returns the time of the fastest run by the host's clock, in milliseconds */
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

/** Returns the number of runs that fill a sample. */
function runsOf(time: number, estimate: number): number {
  return Math.min(MOST_RUNS, Math.max(1, Math.round(time / SAMPLES / estimate)))
}

async function onHost(device: Device, run: () => void, estimate: number, { time, minSamples }: Budget): Promise<number[]> {
  const runs = runsOf(time, estimate)
  const samples: number[] = []
  const began = performance.now()
  while (samples.length < minSamples || performance.now() - began < time) {
    const start = performance.now()
    for (let i = 0; i < runs; i++) run()
    await device.synchronize()
    samples.push((performance.now() - start) / runs)
  }
  return checkedSamples(samples)
}

async function onDevice(
  device: Device,
  profiler: Profiler,
  run: () => void,
  estimate: number,
  { time, minSamples, flush }: BenchOptions,
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
    // The profiler does not know where a run ends, so one run is counted first.
    const dispatches = (await measure(1)).length
    const most = Math.max(1, Math.floor(TIMED_DISPATCHES / dispatches))
    const runs = Math.min(most, runsOf(time, estimate))
    const samples: number[] = []
    const means: number[] = []
    const began = performance.now()
    while (samples.length < minSamples || performance.now() - began < time) {
      const timed = await measure(runs)
      const each = Array.from({ length: runs }, (_, i) => milliseconds(timed.slice(i * dispatches, (i + 1) * dispatches)))
      samples.push(...each)
      means.push(each.reduce((sum, sample) => sum + sample, 0) / runs)
    }
    // A coarse clock, such as a browser's, sees 0 for single runs, but not for the mean of many.
    return checkedSamples(samples.every((sample) => sample > 0) ? samples : means)
  } finally {
    device.profiler = undefined
  }
}

/** Returns the sum of the dispatches' times. */
function milliseconds(dispatches: readonly ProfiledDispatch[]): number {
  return dispatches.reduce((sum, { begin, end }) => sum + (end - begin), 0) / 1e6
}

/** Returns the samples themselves. @throws Error unless time passes in every sample: otherwise rates would be infinite */
function checkedSamples(samples: number[]): number[] {
  const odd = samples.find((sample) => !(sample > 0 && Number.isFinite(sample)))
  if (odd !== undefined)
    throw new Error(`the clock saw a run take ${odd} ms: it is too coarse; give --time more, or another --timer`)
  return samples
}
