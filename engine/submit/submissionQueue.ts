import { expectAnswer } from '#platform'
import { DeviceLostError, ValidationError } from '../base/errors.ts'
import type { CompiledKernel } from './pipelines.ts'
import type { Profiler } from './profiler.ts'

/** Counts what a device has been given so far. */
export interface WorkCounts {
  submits: number
  dispatches: number
}

/** Commands that are submitted together. */
export interface Work {
  /** The kernels that the commands launch; the commands are submitted when all of these are compiled. */
  readonly kernels: Iterable<CompiledKernel>
  /** The number of dispatches that ops recorded one by one, outside a graph; these are often small. */
  readonly ops: number
  /** Encodes and submits the commands. */
  submit(profiler: Profiler | undefined): void
  /** Names the ops or the graph behind the commands, for error messages. */
  describe(): string
}

/** Work that waits in the queue, with its number in the order of submissions. */
interface Submission {
  serial: number
  work: Work
  profiler: Profiler | undefined
  submitted: () => void
}

/** An error of the driver. */
interface Failure {
  error: Error
  /** The submission that caused the error; 0 where this is unknown. */
  serial: number
  /** The submission that was being recorded when a reader was first told. Readers of that submission and of later ones are not told. */
  reported: number
}

/** The number of failures kept for readers that have not asked yet. */
const FAILURES_KEPT = 64

/**
 * Submits work in order, each piece when its pipelines are compiled, and keeps the errors that the driver reports until somebody reads
 * results.
 */
export class SubmissionQueue {
  /** Resolves when the device is lost, with the error that every later call throws. */
  readonly lost: Promise<DeviceLostError>
  readonly counts: WorkCounts = { submits: 0, dispatches: 0 }
  readonly #device: GPUDevice
  readonly #name: string
  readonly #profiler: () => Profiler | undefined
  #waiting: Submission[] = []
  #idle: Promise<void> = Promise.resolve()
  #serial = 1
  #submitted = 0
  #failures: Failure[] = []
  #checks = new Set<Promise<void>>()
  #lostError: DeviceLostError | undefined

  /** @param name of the device, for messages */
  constructor(device: GPUDevice, name: string, profiler: () => Profiler | undefined) {
    this.#device = device
    this.#name = name
    this.#profiler = profiler
    this.lost = device.lost.then((info) => {
      return this.lose(info.reason === 'destroyed' ? 'was destroyed' : `was lost (${info.message || 'no reason given'})`)
    })
    device.onuncapturederror = (event) => this.fail(new Error(event.error.message))
  }

  /** Serial of the submission being recorded. */
  get serial(): number {
    return this.#serial
  }

  /** Serial of the last submission that the driver has. */
  get submitted(): number {
    return this.#submitted
  }

  /** Whether work waits to be submitted. */
  get busy(): boolean {
    return this.#waiting.length > 0
  }

  /** Resolves when everything added so far is submitted. */
  get idle(): Promise<void> {
    return this.#idle
  }

  /** Submits work in its turn. @returns resolves when it is submitted */
  add(work: Work): Promise<void> {
    const serial = this.#serial++
    let submitted = () => {}
    const promise = new Promise<void>((resolve) => {
      submitted = resolve
    })
    this.#waiting.push({ serial, work, profiler: this.#profiler(), submitted })
    if (this.#lostError) this.#endWaiting()
    else if (this.#waiting.length === 1) this.#pump()
    this.#idle = promise
    return promise
  }

  /** Keeps an error of the driver. @param serial the submission it belongs to; default: unknown, and the next reader is told */
  fail(error: Error, serial = 0): void {
    this.#failures.push({ error, serial, reported: Number.POSITIVE_INFINITY })
  }

  /**
   * Waits for the error scopes of all submissions so far.
   * @throws the first failure of submission `serial` or an earlier one, unless an earlier reader was told before `serial` was recorded;
   *   DeviceLostError
   */
  async #settle(serial: number): Promise<void> {
    if (this.#checks.size > 0) await Promise.all(this.#checks)
    this.checkLost()
    const found = this.#failures.filter((failure) => failure.serial <= serial && serial < failure.reported)
    const [failure] = found
    if (!failure) return
    // Only the first failure is reported, since the others may follow from it.
    for (const each of found) each.reported = Math.min(each.reported, this.#serial)
    if (this.#failures.length > FAILURES_KEPT) this.#failures.shift()
    throw failure.error
  }

  /**
   * Waits for work of the driver, then for the error scopes of all submissions.
   * @throws what `#settle` throws, or the error of the work itself
   */
  async finish(work: Promise<unknown>, serial: number): Promise<void> {
    try {
      await work
      await this.#settle(serial)
    } catch (error) {
      throw await this.#explain(error, serial)
    }
  }

  /** Finds the cause of an error: loss of the device, which may be reported a little later, or an earlier failure. @returns the cause */
  async #explain(error: unknown, serial: number): Promise<unknown> {
    const soon = new Promise<undefined>((resolve) => setTimeout(resolve, 100))
    const lost = await Promise.race([this.lost, soon])
    if (lost) return lost
    try {
      await this.#settle(serial)
    } catch (failure) {
      return failure
    }
    return error
  }

  /** Marks the device as lost, so that every later call throws the same error. @param how completes "the device X …" */
  lose(how: string): DeviceLostError {
    this.#lostError ??= new DeviceLostError(`the device ${this.#name} ${how}; request a new one and load a checkpoint`)
    this.#endWaiting()
    return this.#lostError
  }

  /** @throws DeviceLostError when the device is lost */
  checkLost(): void {
    if (this.#lostError) throw this.#lostError
  }

  /** Submits waiting work in order, up to the first whose pipelines are still compiling, and continues when they are compiled. */
  #pump(): void {
    for (;;) {
      const next = this.#waiting[0]
      if (!next) return
      const compiling = new Set<Promise<unknown>>()
      const broken = new Set<Error>()
      for (const { pipeline, error, ready } of next.work.kernels) {
        if (error) broken.add(error)
        else if (!pipeline) compiling.add(ready)
      }
      if (compiling.size > 0) {
        Promise.allSettled(compiling).then(() => this.#pump())
        return
      }
      for (const error of broken) this.fail(error, next.serial)
      this.#submit(next)
      this.#waiting.shift()
    }
  }

  #submit({ serial, work, profiler, submitted }: Submission): void {
    const error = errorOf(
      this.#device,
      () => work.describe(),
      () => work.submit(profiler),
    )
    const check: Promise<void> = error.then((error) => {
      if (error) this.fail(error, serial)
      this.#checks.delete(check)
    })
    this.#checks.add(check)
    this.#submitted = serial
    expectAnswer(work.ops)
    submitted()
  }

  /** Drops the work that waits for a lost device; its readers get the DeviceLostError. */
  #endWaiting(): void {
    for (const { submitted } of this.#waiting) submitted()
    this.#waiting = []
  }
}

/**
 * Runs `submit` in error scopes.
 * @param by names the ops or the graph behind the commands, for the message
 * @returns resolves with the first error that the driver reports, or undefined
 */
function errorOf(device: GPUDevice, by: () => string, submit: () => void): Promise<Error | undefined> {
  device.pushErrorScope('out-of-memory')
  device.pushErrorScope('validation')
  submit()
  const validation = device.popErrorScope()
  const memory = device.popErrorScope()
  return Promise.all([validation, memory]).then(
    ([first, second]) => {
      const error = first ?? second
      return error ? new ValidationError(`${error.message.trim()} (recorded by ${by()})`) : undefined
    },
    () => undefined,
  )
}
