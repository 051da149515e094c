import type { Device } from '../../engine/index.ts'
import type { Candidate } from './candidate.ts'
import type { DeviceClock } from './deviceClock.ts'

/** Milliseconds of one candidate, round by round. */
export interface Series {
  /** One run from its call until its values are there, nothing else under way. */
  latency: number[]
  /** One run of several handed over without waiting in between. */
  queued: number[]
  /** JavaScript of one run, the device idle when it begins. */
  host: number[]
  /** One run by the device's clock, from its first command to its last, of several devices the longest; empty without one. */
  device: number[]
}

export interface MeasureOptions {
  /** Milliseconds for each candidate. */
  time: number
  /** Rounds at least, whatever they take. */
  least: number
  /** Whether several runs in a row are timed too. */
  queue: boolean
  /** Of the devices that have one. */
  clocks: ReadonlyMap<Device, DeviceClock>
}

/** What runs in a row take at least, so that one wait at their end does not count, and how many they are at most. */
const ROW_MS = 60
const ROW_RUNS = 16
/** Rounds in which the device's clock is asked: its times vary little, and each is a run more. */
const CLOCKED = 5

/**
 * Times candidates in turn, round after round, so that whatever else the machine does slows down all alike and values of one round
 * can be compared. All have run before: nothing is compiled any more.
 */
export async function measure(candidates: readonly Candidate[], options: MeasureOptions): Promise<Series[]> {
  const series = candidates.map((): Series => ({ latency: [], queued: [], host: [], device: [] }))
  const began = performance.now()
  const { time, least } = options
  for (let round = 0; round < least || performance.now() - began < time * candidates.length; round++) {
    for (const [i, candidate] of candidates.entries()) await sample(candidate, series[i]!, options)
  }
  return series
}

async function sample(candidate: Candidate, { latency, queued, host, device }: Series, options: MeasureOptions): Promise<void> {
  const { queue } = options
  const start = performance.now()
  const javascript = await candidate.submit()
  await candidate.wait()
  const one = performance.now() - start
  latency.push(one)
  host.push(javascript)
  if (queue) queued.push(await row(candidate, Math.min(ROW_RUNS, Math.floor(ROW_MS / one)), one))
  const clocks = candidate.devices.flatMap((one) => options.clocks.get(one) ?? [])
  if (clocks.length === candidate.devices.length && device.length < CLOCKED) {
    for (const clock of clocks) clock.begin()
    await candidate.submit()
    for (const clock of clocks) clock.end()
    await candidate.wait()
    device.push(Math.max(...(await Promise.all(clocks.map((clock) => clock.read())))))
  }
}

/** Milliseconds of a run among several; of a single one those that it just took. */
async function row(candidate: Candidate, runs: number, one: number): Promise<number> {
  if (runs < 2) return one
  const start = performance.now()
  for (let i = 0; i < runs; i++) await candidate.submit()
  await candidate.wait()
  return (performance.now() - start) / runs
}
