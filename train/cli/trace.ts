import { chromeTrace, type Device, files, type TracedDevice, Tracing } from '../../engine/index.ts'
import type { BranchDevices } from '../devices/branchDevices.ts'

/** Mini-batches that are traced: past those that compile, few enough for a viewer. */
const TRACED = { from: 3, to: 8 }

/** What `BranchDevices` offers, of one device. */
class DeviceTrace {
  readonly #device: Device
  #tracing: Tracing | undefined

  constructor(device: Device) {
    this.#device = device
  }

  async startTrace(): Promise<void> {
    this.#tracing = new Tracing(this.#device)
  }

  async endTrace(): Promise<TracedDevice[]> {
    return [await this.#tracing!.end()]
  }
}

/** Times the dispatches of a few mini-batches of a run on all its devices. */
export class Trace {
  readonly #traced: Pick<BranchDevices, 'startTrace' | 'endTrace'>
  readonly #path: string
  readonly #first: number
  #started = false
  #ended: Promise<TracedDevice[]> | undefined

  /**
   * @param first place of the first mini-batch of the run
   * @throws UserError when a device has no timestamp queries
   */
  static async open(on: Device | BranchDevices, path: string, first: number): Promise<Trace> {
    const trace = new Trace(on, path, first)
    // To know before the run whether all devices can.
    await trace.#traced.startTrace()
    await trace.#traced.endTrace()
    return trace
  }

  private constructor(on: Device | BranchDevices, path: string, first: number) {
    this.#traced = 'endTrace' in on ? on : new DeviceTrace(on)
    this.#path = path
    this.#first = first
  }

  /** To be called before each mini-batch. */
  between(step: number): void {
    const done = step - this.#first
    if (!this.#started && done >= TRACED.from) {
      this.#started = true
      // A device that is gone ends the run as well.
      this.#traced.startTrace().catch(() => {})
    }
    if (this.#started && done >= TRACED.to) this.#end()
  }

  /** Writes what was traced. */
  async save(): Promise<void> {
    await files.write(this.#path, chromeTrace(this.#started ? await this.#end() : []))
  }

  #end(): Promise<TracedDevice[]> {
    this.#ended ??= this.#traced.endTrace()
    this.#ended.catch(() => {})
    return this.#ended
  }
}
