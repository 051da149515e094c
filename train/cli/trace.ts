import { chromeTrace, type Device, files, type TracedDevice, Tracing } from '../../engine/index.ts'
import type { SeveralDevices } from '../run/trainerParts.ts'

/** Number of mini-batches that are traced, few enough for a viewer. */
const TRACED = 5
/** Number of mini-batches before the traced ones, in which kernels are compiled. */
const BEFORE = 3

/** The trace of one device, with the methods of `SeveralDevices`. */
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
  readonly #traced: Pick<SeveralDevices, 'startTrace' | 'endTrace'>
  readonly #path: string
  readonly #from: number
  readonly #to: number
  #written: Promise<void> | undefined

  /**
   * Prepares the trace of a run.
   * @param path the file to write
   * @param run the run's first mini-batch and exclusive end; of a short run the last mini-batches are traced
   * @throws UserError when a device has no timestamp queries
   */
  static async open(on: Device | SeveralDevices, path: string, run: { first: number; end: number }): Promise<Trace> {
    const trace = new Trace(on, path, run)
    // This shows before the run whether all devices have timestamp queries.
    await trace.#traced.startTrace()
    await trace.#traced.endTrace()
    return trace
  }

  private constructor(on: Device | SeveralDevices, path: string, { first, end }: { first: number; end: number }) {
    this.#traced = 'endTrace' in on ? on : new DeviceTrace(on)
    this.#path = path
    this.#from = Math.max(first, Math.min(first + BEFORE, end - TRACED))
    this.#to = Math.min(this.#from + TRACED, end)
  }

  /** Must be called before mini-batch `step` begins. */
  before(step: number): void {
    // A lost device ends the run by itself.
    if (step === this.#from) this.#traced.startTrace().catch(() => {})
    this.after(step)
  }

  /** Must be called when all mini-batches before `step` are done. */
  after(step: number): void {
    if (step >= this.#to) this.#end()
  }

  /** Whether the file is written, and a run that goes on after a device loss needs no other trace. */
  async isWritten(): Promise<boolean> {
    return (
      this.#written?.then(
        () => true,
        () => false,
      ) ?? false
    )
  }

  /** Waits until the file is written, with the mini-batches before `step` if the run was interrupted. */
  async save(step: number): Promise<void> {
    if (step > this.#from) await this.#end()
  }

  #end(): Promise<void> {
    this.#written ??= this.#traced.endTrace().then((devices) => files.write(this.#path, chromeTrace(devices)))
    this.#written.catch(() => {})
    return this.#written
  }
}
