import { refusal } from '../base/checks.ts'
import { checkDevice } from '../device/defaultDevice.ts'
import type { Device } from '../device/device.ts'
import { type ProfiledDispatch, Profiler } from '../submit/profiler.ts'

/** The dispatches that a device ran during a trace. */
export interface TracedDevice {
  name: string
  dispatches: readonly ProfiledDispatch[]
  /** The host's clock minus the device's clock, in milliseconds. */
  offset: number
}

/** Times every dispatch of a device from the constructor until `end()`; see `Profiler` for the cost. */
export class Tracing {
  readonly #device: Device
  readonly #profiler: Profiler

  /** @throws UserError when the device has no timestamp queries; ArgumentError when `device` is no device */
  constructor(device: Device) {
    checkDevice('Tracing', device)
    this.#device = device
    this.#profiler = new Profiler(device.gpu, device.summary.name)
    device.flush()
    device.profiler = this.#profiler
  }

  /** Ends the trace and waits for its dispatches. @throws DeviceLostError, and the errors that the driver reported */
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
 * Formats dispatches as a Chrome trace for Perfetto or chrome://tracing, with one process a device and one track a stream. A dispatch that
 * coalesced branches share stands on the track of each. An instant event marks a barrier before a dispatch, with its reasons. The clocks of
 * several devices are aligned by the host's clock, to a fraction of a millisecond.
 * @returns JSON in the Trace Event Format
 * @throws ArgumentError when `devices` is no list of traced devices
 */
export function chromeTrace(devices: readonly TracedDevice[]): string {
  checkTraced(devices)
  const first = devices.map(({ dispatches }) =>
    dispatches.reduce((least, { begin }) => Math.min(least, begin), Number.POSITIVE_INFINITY),
  )
  const starts = devices.map(({ offset }, pid) => offset + first[pid]! / 1e6)
  const origin = Math.min(...starts)
  const events = devices.flatMap(({ name, dispatches }, pid) => {
    // Times are microseconds since the earliest dispatch.
    const from = (starts[pid]! - origin) * 1000
    const at = (time: number) => from + (time - first[pid]!) / 1000
    return [{ ph: 'M', pid, tid: 0, name: 'process_name', args: { name } }, ...deviceEvents(dispatches, pid, at)]
  })
  return JSON.stringify({ traceEvents: events, displayTimeUnit: 'ms' })
}

function checkTraced(devices: unknown): void {
  const isTraced = (device?: TracedDevice) => Array.isArray(device?.dispatches) && Number.isFinite(device?.offset)
  if (!Array.isArray(devices) || !devices.every(isTraced)) {
    throw refusal('chromeTrace', devices, 'a list of what Tracing.end() gives')
  }
}

function deviceEvents(dispatches: readonly ProfiledDispatch[], pid: number, at: (time: number) => number): object[] {
  const streams = [...new Set(dispatches.flatMap(({ streams }) => streams))].sort(
    (a, b) => Number(b === 'main') - Number(a === 'main'),
  )
  const names = streams.map((name, tid) => ({ ph: 'M', pid, tid, name: 'thread_name', args: { name } }))
  const events = dispatches.flatMap(({ op, kernel, streams: shared, barriers, begin, end }) =>
    shared.flatMap((stream) => {
      const place = { pid, tid: streams.indexOf(stream), ts: at(begin) }
      const barrier = { ...place, ph: 'i', s: 't', name: 'barrier', args: { barriers } }
      const event = {
        ...place,
        ph: 'X',
        name: op,
        dur: (end - begin) / 1000,
        args: { kernel, branches: shared.length, barriers },
      }
      return barriers.length > 0 ? [barrier, event] : [event]
    }),
  )
  return [...names, ...events]
}
