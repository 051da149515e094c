import { openDevice } from '#platform'
import type { Variant } from '../../kernels/spec.ts'
import { DeviceLostError } from '../base/errors.ts'
import { Device } from '../device/device.ts'
import { Profiler } from '../submit/profiler.ts'
import type { TuningTask } from './extractTasks.ts'
import type { Scratch } from './scratch.ts'

/** The error for work that did not end within its time limit. */
export class LateError extends Error {
  override readonly name = 'LateError'
}

/** Devices that are still busy after their runner closed. Dawn crashes if such a device is garbage-collected before its work ends. */
const busy = new Map<Device, Promise<unknown>>()

/** Runs variants on a device of its own, of the same adapter, so that a variant that hangs or loses its device harms nothing else. */
export class Runner {
  readonly device: Device
  readonly #profiler: Profiler | undefined
  /** The work that is waited for, or that did not end within its time limit. */
  #late: Promise<unknown> | undefined

  private constructor(device: Device) {
    this.device = device
    this.#profiler = device.gpu.features.has('timestamp-query') ? new Profiler(device.gpu) : undefined
  }

  /**
   * Opens a runner. It first waits for busy devices of earlier runners, which would delay its runs.
   * @param device a device of the same adapter
   * @param limit milliseconds to wait
   * @throws LateError
   */
  static async open(device: Device, limit: number): Promise<Runner> {
    await within(Promise.all(busy.values()), limit)
    return new Runner(new Device(await openDevice(device.request), device.request))
  }

  /** Compiles a variant for a task. A late compilation does not block the device. @throws KernelCompileError, LateError */
  async compile({ spec, problem }: TuningTask, variant: Variant<any>, limit: number): Promise<void> {
    const constants = variant.constants?.(problem, this.device.capabilities) ?? {}
    try {
      await this.#within(this.device.pipelines.get(spec, variant, constants).ready, limit)
    } catch (error) {
      if (error instanceof LateError) this.#late = undefined
      throw error
    }
  }

  /** The number of workgroups that a variant launches for a task. */
  groups({ problem }: TuningTask, variant: Variant<any>): number {
    const [x, y, z] = variant.grid(problem, variant.constants?.(problem, this.device.capabilities) ?? {})
    return x * y * z
  }

  /** Reads the values that the last run wrote. @throws LateError, and the errors that the driver reports */
  results(scratch: Scratch, limit: number): Promise<ArrayBuffer[]> {
    return this.#within(scratch.results(), limit)
  }

  /**
   * Runs a variant once.
   * @param limit milliseconds to wait
   * @param groups runs only the first workgroups; by default all
   * @returns milliseconds on the host's clock
   * @throws LateError, and the errors that the driver reports
   */
  async run(task: TuningTask, variant: Variant<any>, scratch: Scratch, limit: number, groups?: number): Promise<number> {
    const began = performance.now()
    this.#launch(task, variant, scratch, groups)
    await this.#within(this.device.synchronize(), limit)
    return performance.now() - began
  }

  /**
   * Times `runs` runs of a variant, back to back.
   * @returns milliseconds a run, on the device's clock if it has one, else on the host's
   * @throws LateError, and the errors that the driver reports
   */
  async time(task: TuningTask, variant: Variant<any>, scratch: Scratch, limit: number, runs: number): Promise<number> {
    const { device } = this
    const began = performance.now()
    device.profiler = this.#profiler
    try {
      for (let i = 0; i < runs; i++) this.#launch(task, variant, scratch)
      await this.#within(device.synchronize(), limit)
      const wall = performance.now() - began
      const timed = (await this.#profiler?.collect()) ?? []
      // The clocks of browsers are too coarse for a single dispatch, so all runs are timed together.
      const ticks = timed.length > 0 ? (timed.at(-1)!.end - timed[0]!.begin) / 1e6 : 0
      return (ticks > 0 ? ticks : wall) / runs
    } finally {
      device.profiler = undefined
    }
  }

  /** Waits for late work. @returns whether the runner is usable again */
  async recover(limit: number): Promise<boolean> {
    try {
      if (this.#late) await this.#within(this.#late, limit)
      return true
    } catch (error) {
      return !(error instanceof LateError || error instanceof DeviceLostError)
    }
  }

  /** Destroys the device, as soon as it is not busy. */
  close(): void {
    const { device } = this
    if (!this.#late) {
      device.destroy()
      return
    }
    const done = () => {
      busy.delete(device)
      device.destroy()
    }
    busy.set(device, this.#late.then(done, done))
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

/** Waits for `work`. @param limit milliseconds to wait. @throws LateError after them */
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
