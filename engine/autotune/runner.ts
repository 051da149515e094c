import { openDevice } from '#platform'
import type { Variant } from '../../kernels/spec.ts'
import { DeviceLostError } from '../base/errors.ts'
import { Device } from '../device/device.ts'
import { Profiler } from '../submit/profiler.ts'
import type { TuningTask } from './extractTasks.ts'
import type { Scratch } from './scratch.ts'

/** Something did not end in its time. */
export class LateError extends Error {
  override readonly name = 'LateError'
}

/** Devices that were busy when their lab was left, until they are done: Dawn crashes when one is collected while it owes an answer. */
const left = new Map<Device, Promise<unknown>>()

/**
 * A device apart, of the same adapter, on which variants are tried: one that hangs or loses its device takes nothing along
 * but this.
 */
export class Runner {
  readonly device: Device
  readonly #profiler: Profiler | undefined
  /** What was waited for in vain. */
  #late: Promise<unknown> | undefined

  private constructor(device: Device) {
    this.device = device
    this.#profiler = device.gpu.features.has('timestamp-query') ? new Profiler(device.gpu) : undefined
  }

  /**
   * A device that is still busy holds others up, and they would be blamed for it: it is waited for.
   * @throws LateError
   */
  static async open({ request }: Device, limit: number): Promise<Runner> {
    await within(Promise.all(left.values()), limit)
    return new Runner(new Device(await openDevice(request), request))
  }

  /**
   * Compiles a variant for a problem; being late with that is nobody's fault and blocks nothing.
   * @throws KernelCompileError, LateError
   */
  async compile({ spec, problem }: TuningTask, variant: Variant<any>, limit: number): Promise<void> {
    const constants = variant.constants?.(problem, this.device.capabilities) ?? {}
    try {
      await this.#within(this.device.pipelines.get(spec, variant, constants).ready, limit)
    } catch (error) {
      if (error instanceof LateError) this.#late = undefined
      throw error
    }
  }

  /** Workgroups that a variant launches for a problem. */
  groups({ problem }: TuningTask, variant: Variant<any>): number {
    const [x, y, z] = variant.grid(problem, variant.constants?.(problem, this.device.capabilities) ?? {})
    return x * y * z
  }

  /** What the last run wrote. @throws LateError, and whatever the driver reports */
  results(scratch: Scratch, limit: number): Promise<ArrayBuffer[]> {
    return this.#within(scratch.results(), limit)
  }

  /**
   * Runs a variant once, or only its first workgroups.
   * @returns milliseconds on the host's clock
   * @throws LateError, and whatever the driver reports
   */
  async run(problem: TuningTask, variant: Variant<any>, scratch: Scratch, limit: number, groups?: number): Promise<number> {
    const began = performance.now()
    this.#launch(problem, variant, scratch, groups)
    await this.#within(this.device.synchronize(), limit)
    return performance.now() - began
  }

  /**
   * Milliseconds of one run of a variant, from `runs` back to back: on the device's clock where it has one.
   * @throws LateError, and whatever the driver reports
   */
  async time(problem: TuningTask, variant: Variant<any>, scratch: Scratch, limit: number, runs: number): Promise<number> {
    const { device } = this
    const began = performance.now()
    device.profiler = this.#profiler
    try {
      for (let i = 0; i < runs; i++) this.#launch(problem, variant, scratch)
      await this.#within(device.synchronize(), limit)
      const wall = performance.now() - began
      const timed = (await this.#profiler?.collect()) ?? []
      // From the first begin to the last end: coarse clocks (browsers) tell no single dispatch.
      const ticks = timed.length > 0 ? (timed.at(-1)!.end - timed[0]!.begin) / 1e6 : 0
      return (ticks > 0 ? ticks : wall) / runs
    } finally {
      device.profiler = undefined
    }
  }

  /** Waits for what was late. @returns whether it ended; if not, this device is of no more use */
  async recover(limit: number): Promise<boolean> {
    try {
      if (this.#late) await this.#within(this.#late, limit)
      return true
    } catch (error) {
      return !(error instanceof LateError || error instanceof DeviceLostError)
    }
  }

  /** Ends the device, unless it is still busy. */
  close(): void {
    const { device } = this
    if (!this.#late) {
      device.destroy()
      return
    }
    const done = () => {
      left.delete(device)
      device.destroy()
    }
    left.set(device, this.#late.then(done, done))
  }

  #launch({ spec, problem }: TuningTask, variant: Variant<any>, { bindings }: Scratch, groups?: number): void {
    const first: Variant<any> = groups === undefined ? variant : { ...variant, grid: () => [groups, 1, 1] }
    this.device.dispatch({ ...spec, variants: [first] }, problem, bindings, variant.name)
  }

  async #within<T>(work: Promise<T>, limit: number): Promise<T> {
    this.#late = work
    try {
      const value = await within(work, limit)
      this.#late = undefined
      return value
    } catch (error) {
      if (error instanceof LateError) work.catch(() => {})
      else this.#late = undefined
      throw error
    }
  }
}

/** What `work` gives. @throws LateError when it does not come within so many milliseconds */
async function within<T>(work: Promise<T>, limit: number): Promise<T> {
  let timer: ReturnType<typeof setTimeout> | undefined
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new LateError(`not done after ${Math.round(limit)} ms`)), limit)
  })
  try {
    return await Promise.race([work, late])
  } finally {
    clearTimeout(timer)
  }
}
