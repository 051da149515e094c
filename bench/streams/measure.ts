import type { Device } from '../../engine/index.ts'
import type { Candidate } from './candidate.ts'
import type { DeviceClock } from './deviceClock.ts'

/** Times of one candidate in milliseconds, one for each round. */
export interface Series {
  /** Time of a single run, from its submission until its values are there. */
  latency: number[]
  /** Time of one of several runs that are submitted without waiting between them. */
  queued: number[]
  /** Time that JavaScript takes for one run, which begins when the device is idle. */
  host: number[]
  /**
   * Time from the first to the last command of a run by the device's clock, the longest of several devices; empty without a
   * clock.
   */
  device: number[]
}

/** The part of a candidate that is timed. */
export type Timed = Pick<Candidate, 'devices' | 'submit' | 'wait'>

/** Options of `measure`. */
export interface MeasureOptions {
  /** Milliseconds for each candidate. */
  time: number
  /** Smallest number of rounds, however long they take. */
  minRounds: number
  /** Whether consecutive runs are timed too. */
  queue: boolean
  /** The clocks of the devices that have one. */
  clocks: ReadonlyMap<Device, DeviceClock>
  /** Called after each round with the share of the time that has passed. */
  onRound?(share: number): void
  /** Called after each round; when it returns true, no further round begins. */
  shouldStop?(): boolean
}

/** Milliseconds that consecutive runs take together, so that the one wait at their end hardly counts. */
const ROW_MS = 60
/** Largest number of consecutive runs. */
const ROW_RUNS = 16
/** Number of rounds that the device's clock times. Its times vary little, and each takes another run. */
const CLOCKED = 5

/**
 * Times candidates in turn, round after round: other work on the machine slows down all alike, so the times of one round can be
 * compared. All candidates must have run before, so that nothing is compiled meanwhile.
 */
export async function measure(candidates: readonly Timed[], options: MeasureOptions): Promise<Series[]> {
  const series = candidates.map((): Series => ({ latency: [], queued: [], host: [], device: [] }))
  const began = performance.now()
  const { time, minRounds } = options
  const share = (round: number) =>
    Math.min(round / minRounds, time === 0 ? 1 : (performance.now() - began) / (time * candidates.length))
  for (let round = 0; share(round) < 1; round++) {
    for (const [i, candidate] of candidates.entries()) await sample(candidate, series[i]!, options)
    options.onRound?.(Math.min(1, share(round + 1)))
    if (options.shouldStop?.()) break
  }
  return series
}

async function sample(candidate: Timed, { latency, queued, host, device }: Series, options: MeasureOptions): Promise<void> {
  const { queue } = options
  const start = performance.now()
  const javascript = await candidate.submit()
  await candidate.wait()
  const single = performance.now() - start
  latency.push(single)
  host.push(javascript)
  if (queue) queued.push(await row(candidate, Math.min(ROW_RUNS, Math.floor(ROW_MS / single)), single))
  const clocks = candidate.devices.flatMap((d) => options.clocks.get(d) ?? [])
  if (clocks.length === candidate.devices.length && device.length < CLOCKED) {
    for (const clock of clocks) clock.begin()
    await candidate.submit()
    for (const clock of clocks) clock.end()
    await candidate.wait()
    device.push(Math.max(...(await Promise.all(clocks.map((clock) => clock.read())))))
  }
}

/**
 * Measures the milliseconds of one of `runs` consecutive runs; for fewer than two runs it returns `single`, the time of the
 * single run.
 */
async function row(candidate: Timed, runs: number, single: number): Promise<number> {
  if (runs < 2) return single
  const start = performance.now()
  for (let i = 0; i < runs; i++) await candidate.submit()
  await candidate.wait()
  return (performance.now() - start) / runs
}
