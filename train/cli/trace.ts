import { chromeTrace, type Device, files, type TracedDevice, Tracing } from '../../engine/index.ts'
import type { BranchDevices } from '../devices/branchDevices.ts'

/** How many mini-batches are traced, and after how many: past those that compile, few enough for a viewer. */
const TRACED = 5
const BEFORE = 3

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

/** Times the dispatches of a few mini-batches of a run on all its devices, and writes them as soon as they are done. */
export class Trace {
  readonly #traced: Pick<BranchDevices, 'startTrace' | 'endTrace'>
  readonly #path: string
  readonly #from: number
  readonly #to: number
  #written: Promise<void> | undefined

  /**
   * @param run its mini-batches, first and last one; of a short one the last few are traced
   * @throws UserError when a device has no timestamp queries
   */
  static async open(on: Device | BranchDevices, path: string, run: { first: number; end: number }): Promise<Trace> {
    const trace = new Trace(on, path, run)
    // To know before the run whether all devices can.
    await trace.#traced.startTrace()
    await trace.#traced.endTrace()
    return trace
  }

  private constructor(on: Device | BranchDevices, path: string, { first, end }: { first: number; end: number }) {
    this.#traced = 'endTrace' in on ? on : new DeviceTrace(on)
    this.#path = path
    this.#from = Math.max(first, Math.min(first + BEFORE, end - TRACED))
    this.#to = Math.min(this.#from + TRACED, end)
  }

  /** To be called before mini-batch `step` is begun. */
  before(step: number): void {
    // A device that is gone ends the run as well.
    if (step === this.#from) this.#traced.startTrace().catch(() => {})
    this.after(step)
  }

  /** To be called when all mini-batches before `step` are done. */
  after(step: number): void {
    if (step >= this.#to) this.#end()
  }

  /** Whether the file is written already: a device that was lost needs no other trace. */
  async isWritten(): Promise<boolean> {
    return (
      this.#written?.then(
        () => true,
        () => false,
      ) ?? false
    )
  }

  /** Settles when it is written; of an interrupted run as far as it came. */
  async save(step: number): Promise<void> {
    if (step > this.#from) await this.#end()
  }

  #end(): Promise<void> {
    this.#written ??= this.#traced.endTrace().then((devices) => files.write(this.#path, chromeTrace(devices)))
    this.#written.catch(() => {})
    return this.#written
  }
}
