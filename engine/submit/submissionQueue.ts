import { expectAnswer } from '#platform'
import { DeviceLostError, ValidationError } from '../base/errors.ts'
import type { CompiledKernel } from './pipelines.ts'
import type { Profiler } from './profiler.ts'

/** What a device was given so far. */
export interface WorkCounts {
  submits: number
  dispatches: number
}

/** Commands that are submitted together. */
export interface Work {
  /** The kernels that must be compiled before it is submitted. */
  readonly kernels: Iterable<CompiledKernel>
  /** Encodes the commands and submits them. */
  submit(profiler: Profiler | undefined): void
  /** Names what recorded the commands, for error messages. */
  describe(): string
}

/** Work with its place in the order of submissions. */
interface Submission {
  serial: number
  work: Work
  profiler: Profiler | undefined
  submitted: () => void
}

/** What the driver reported for a batch. */
interface Failure {
  error: Error
  serial: number
  /** The batch that was being recorded when a reader was first told; those from it on are not. */
  reported: number
}

/** Failures remembered for readers that have not asked yet. */
const FAILURES_KEPT = 64

/**
 * Batches of work on their way to the driver: submitted in order, each once its pipelines are compiled. Keeps what the driver
 * reports for them until those who read their results ask.
 */
export class SubmissionQueue {
  /** Settles when the device is gone; every later call throws the same error. */
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

  /** Serial of the batch being recorded. */
  get serial(): number {
    return this.#serial
  }

  /** Serial of the last batch submitted. */
  get submitted(): number {
    return this.#submitted
  }

  /** Whether batches wait to be submitted. */
  get busy(): boolean {
    return this.#waiting.length > 0
  }

  /** Settles when everything added so far is submitted. */
  get idle(): Promise<void> {
    return this.#idle
  }

  /** Hands work to the driver in its turn; settles when it has it. */
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

  /** Remembers an error of the driver; without a batch's serial it is of no known one, and whoever reads next is told. */
  fail(error: Error, serial = 0): void {
    this.#failures.push({ error, serial, reported: Number.POSITIVE_INFINITY })
  }

  /**
   * Waits for the error scopes of submitted batches. Throws the failure of batch `serial` or one before it: every reader of
   * what was recorded until the failure was first reported must learn of it, later ones start afresh.
   */
  async settle(serial: number): Promise<void> {
    if (this.#checks.size > 0) await Promise.all(this.#checks)
    this.checkLost()
    const found = this.#failures.filter((one) => one.serial <= serial && serial < one.reported)
    const [failure] = found
    if (!failure) return
    // With the first all others that it may have brought about are told.
    for (const one of found) one.reported = Math.min(one.reported, this.#serial)
    if (this.#failures.length > FAILURES_KEPT) this.#failures.shift()
    throw failure.error
  }

  /**
   * Waits for work of the driver, then for the error scopes of batch `serial` and those before it.
   * @throws the failure of one of these batches, DeviceLostError, or the error of the work itself
   */
  async finish(work: Promise<unknown>, serial: number): Promise<void> {
    try {
      await work
      await this.settle(serial)
    } catch (error) {
      throw await this.explain(error, serial)
    }
  }

  /** The error behind a failed read: the loss of the device, if that is about to be reported, or a failure before it. */
  async explain(error: unknown, serial: number): Promise<unknown> {
    const soon = new Promise<undefined>((resolve) => setTimeout(resolve, 100))
    const lost = await Promise.race([this.lost, soon])
    if (lost) return lost
    try {
      await this.settle(serial)
    } catch (failure) {
      return failure
    }
    return error
  }

  /** From here on every call ends with the same error. */
  lose(how: string): DeviceLostError {
    this.#lostError ??= new DeviceLostError(`the device ${this.#name} ${how}; request a new one and load a checkpoint`)
    this.#endWaiting()
    return this.#lostError
  }

  /** @throws DeviceLostError when the device is gone */
  checkLost(): void {
    if (this.#lostError) throw this.#lostError
  }

  /** Submits waiting batches in order, up to the first whose pipelines are still compiling; then waits for those. */
  #pump(): void {
    for (;;) {
      const batch = this.#waiting[0]
      if (!batch) return
      const compiling = new Set<Promise<unknown>>()
      const broken = new Set<Error>()
      for (const { pipeline, error, ready } of batch.work.kernels) {
        if (error) broken.add(error)
        else if (!pipeline) compiling.add(ready)
      }
      if (compiling.size > 0) {
        Promise.allSettled(compiling).then(() => this.#pump())
        return
      }
      for (const error of broken) this.fail(error, batch.serial)
      this.#submit(batch)
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
    expectAnswer()
    submitted()
  }

  /** Batches that wait for pipelines of a lost device end unsubmitted; their readers find the device lost. */
  #endWaiting(): void {
    for (const { submitted } of this.#waiting) submitted()
    this.#waiting = []
  }
}

/**
 * Submits, and collects what the driver reports about it.
 * @param by names what recorded the commands, for the message
 * @returns settles with the first error the driver reports, or undefined
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
