import { refusal } from '../base/checks.ts'
import { checkDevice } from '../device/defaultDevice.ts'
import type { Device } from '../device/device.ts'
import { type ProfiledDispatch, Profiler } from '../submit/profiler.ts'

/** What a device did. */
export interface TracedDevice {
  name: string
  dispatches: readonly ProfiledDispatch[]
  /** Milliseconds by which the host's clock is ahead of the device's. */
  offset: number
}

/** Times every dispatch of a device from when it is made until `end()`; see `Profiler` for what that costs. */
export class Tracing {
  readonly #device: Device
  readonly #profiler: Profiler

  /** @throws UserError when the device has no timestamp queries; ArgumentError for what is no device */
  constructor(device: Device) {
    checkDevice('Tracing', device)
    this.#device = device
    this.#profiler = new Profiler(device.gpu, device.summary.name)
    device.flush()
    device.profiler = this.#profiler
  }

  /** @returns what was timed, when it is done. @throws DeviceLostError, and whatever the driver reported */
  async end(): Promise<TracedDevice> {
    const device = this.#device
    const done = device.synchronize()
    device.profiler = undefined
    await done
    const dispatches = await this.#profiler.collect()
    const offset = await this.#profiler.offset()
    this.#profiler.dispose()
    return { name: device.summary.name, dispatches, offset }
  }
}

/**
 * Dispatches as a Chrome trace (open in Perfetto or chrome://tracing): one process a device, one track a stream. A dispatch that
 * coalesced branches share shows on the track of each; a mark where a barrier makes it wait says why. Clocks of several devices are
 * laid over each other by the host's, to a fraction of a millisecond.
 * @throws ArgumentError for what is no list of traced devices
 */
export function chromeTrace(devices: readonly TracedDevice[]): string {
  checkTraced(devices)
  const first = devices.map(({ dispatches }) =>
    dispatches.reduce((least, { begin }) => Math.min(least, begin), Number.POSITIVE_INFINITY),
  )
  const starts = devices.map(({ offset }, pid) => offset + first[pid]! / 1e6)
  const origin = Math.min(...starts)
  const events = devices.flatMap(({ name, dispatches }, pid) => {
    // Microseconds, which near the origin have digits to spare.
    const from = (starts[pid]! - origin) * 1000
    const at = (time: number) => from + (time - first[pid]!) / 1000
    return [{ ph: 'M', pid, tid: 0, name: 'process_name', args: { name } }, ...deviceEvents(dispatches, pid, at)]
  })
  return JSON.stringify({ traceEvents: events, displayTimeUnit: 'ms' })
}

function checkTraced(devices: unknown): void {
  const traced = (one: TracedDevice | undefined) => Array.isArray(one?.dispatches) && Number.isFinite(one?.offset)
  if (!Array.isArray(devices) || !devices.every(traced)) {
    throw refusal('chromeTrace', devices, 'a list of what Tracing.end() gives')
  }
}

function deviceEvents(dispatches: readonly ProfiledDispatch[], pid: number, at: (time: number) => number): object[] {
  const streams = [...new Set(dispatches.flatMap((one) => one.streams))].sort(
    (a, b) => Number(b === 'main') - Number(a === 'main'),
  )
  const names = streams.map((name, tid) => ({ ph: 'M', pid, tid, name: 'thread_name', args: { name } }))
  const events = dispatches.flatMap(({ op, kernel, streams: own, barriers, begin, end }) =>
    own.flatMap((stream) => {
      const place = { pid, tid: streams.indexOf(stream), ts: at(begin) }
      const barrier = { ...place, ph: 'i', s: 't', name: 'barrier', args: { barriers } }
      const event = { ...place, ph: 'X', name: op, dur: (end - begin) / 1000, args: { kernel, branches: own.length, barriers } }
      return barriers.length > 0 ? [barrier, event] : [event]
    }),
  )
  return [...names, ...events]
}
