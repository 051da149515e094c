import type { Variant } from '../../kernels/spec.ts'
import { DeviceLostError, reason } from '../base/errors.ts'
import type { CostModel, Work } from './costModel.ts'
import type { TuningTask } from './extractTasks.ts'
import { LateError, type Runner } from './runner.ts'
import { Scratch } from './scratch.ts'
import { kernelKey } from './tuned.ts'

/** The milliseconds after which a candidate is to blame if its first run has not ended; before, the driver may be compiling. */
const PATIENCE = 1000
/** A candidate is dropped when it takes this many times as long as the default. */
const SLOWER = 2
/** A run is given up after this many times the limit of a slow candidate. */
const HOPELESS = 10
/** The milliseconds that a launch may cost on the host's clock. */
const LAUNCH = 1
/** The factor by which the workgroups of a trial grow from run to run, from one on, so that a slow candidate shows early. */
const GROWTH = 16
/** The number of repeats of a run that seems slow, since other work on the machine may have delayed it. */
const REPEATS = 2
/** The number of rounds in which the remaining variants are timed in turn. */
const ROUNDS = 5
/** After a round, a variant is out if it takes this many times as long as the fastest. */
const BEHIND = 1.3
/** The milliseconds of work to time at once, in one run or several. */
const TIMED = 2
/** The largest number of runs to time at once. */
const MOST_RUNS = 64
/** A candidate wins if it takes less than this part of the default's time. */
const GAIN = 0.95

/** Facts on candidates that cannot win any more. */
export interface Findings {
  /** For each variant that was dropped, the reason. */
  dropped: Record<string, string>
  /** For each variant that was too slow, the milliseconds of a run, or of the part of a run that was tried. */
  slow: Record<string, number>
}

export interface MeasureResult extends Findings {
  /** The default variant. */
  fallback: string
  /** The fastest variant; undefined for an unfinished measurement. */
  variant?: string
  /** For each variant that ran to the end, the least milliseconds of a run. */
  ms: Record<string, number>
  /** Why the runner is unusable now: its device is still busy, or lost. */
  broke?: 'busy' | 'lost'
  /** The variant that broke the measurement: its first run did not end, or one of its runs lost the device. */
  blamed?: string
}

interface MeasureInput {
  runner: Runner
  task: TuningTask
  /** The default variant. */
  fallback: Variant<any>
  costModel: CostModel
  /** When to stop, on the clock of `performance.now()`. */
  deadline: number
  /** The findings of earlier, unfinished measurements. */
  before: Findings
}

/**
 * Finds the fastest variant for a task. The default runs first. Each candidate then runs one workgroup, more, and all of them; it is dropped if
 * it does not compile, takes too long or writes other values. The remaining variants are timed in turn.
 */
export class Measurement {
  readonly #input: MeasureInput
  readonly #scratch: Scratch
  readonly #kernel: string
  readonly #work: Work
  readonly #result: MeasureResult
  /** The milliseconds of a run of the default variant on the host's clock. */
  #defaultMs = 0
  /** The values that the default variant wrote. */
  #expected: readonly ArrayBuffer[] = []

  /** @throws OutOfMemoryError */
  constructor(input: MeasureInput) {
    const { runner, task, fallback, before } = input
    this.#input = input
    this.#scratch = new Scratch(runner.device, task)
    this.#result = { fallback: fallback.name, ms: {}, dropped: { ...before.dropped }, slow: { ...before.slow } }
    this.#kernel = kernelKey(task.spec)
    this.#work = { flops: task.spec.flops(task.problem), bytes: task.spec.bytes(task.problem) }
  }

  /** Measures the default and the candidates. @throws the errors that the driver reports for the default */
  async run(candidates: readonly Variant<any>[]): Promise<MeasureResult> {
    const { fallback, costModel } = this.#input
    const result = this.#result
    try {
      await this.#runDefault()
      const running = [fallback]
      for (const variant of candidates) {
        if (variant.name in result.dropped) continue
        const why = await this.#tryOut(variant)
        if (why === undefined) running.push(variant)
        else result.dropped[variant.name] = why
        if (result.broke) return result
      }
      result.ms = await this.#timeAll(running)
    } catch (error) {
      if (error instanceof LateError) return result
      throw error
    }
    for (const [name, ms] of Object.entries(result.ms)) costModel.add(this.#kernel, name, this.#work, ms)
    const [fastest, ms] = Object.entries(result.ms).reduce((best, entry) => (entry[1] < best[1] ? entry : best))
    result.variant = ms < GAIN * result.ms[fallback.name]! ? fastest : fallback.name
    return result
  }

  dispose(): void {
    this.#scratch.dispose()
  }

  /** The milliseconds until the deadline. */
  #remaining(): number {
    return this.#input.deadline - performance.now()
  }

  async #runDefault(): Promise<void> {
    const { runner, task, fallback } = this.#input
    await runner.compile(task, fallback, this.#remaining())
    // The first run is not timed, since software drivers compile in it.
    await this.#once(fallback, this.#remaining())
    this.#scratch.reset()
    this.#defaultMs = await this.#once(fallback, this.#remaining())
    this.#expected = await runner.results(this.#scratch, this.#remaining())
  }

  /** Tries a candidate out. @returns the reason to drop it, if any. @throws LateError when there is no time left */
  async #tryOut(variant: Variant<any>): Promise<string | undefined> {
    const { runner, task, costModel } = this.#input
    if (!costModel.couldTake(this.#kernel, variant.name, this.#work, this.#defaultMs)) return 'was too slow on similar tasks'
    try {
      await runner.compile(task, variant, this.#remaining())
      await this.#runFirst(variant)
      return (await this.#whySlow(variant)) ?? (await this.#whyWrong())
    } catch (error) {
      if (error instanceof LateError) throw error
      if (error instanceof DeviceLostError) Object.assign(this.#result, { broke: 'lost', blamed: variant.name })
      return reason(error)
    }
  }

  /** Runs one workgroup. Only the deadline limits the run, since software drivers compile in it. */
  async #runFirst(variant: Variant<any>): Promise<void> {
    const { runner } = this.#input
    const patient = this.#remaining() > PATIENCE
    try {
      await this.#once(variant, this.#remaining(), 1)
    } catch (error) {
      if (error instanceof LateError && patient && !(await runner.recover(0))) this.#result.blamed = variant.name
      throw error
    }
  }

  /** Runs a variant on more and more workgroups. @returns the reason if the variant is too slow */
  async #whySlow(variant: Variant<any>): Promise<string | undefined> {
    const { runner, task, costModel } = this.#input
    const most = SLOWER * this.#defaultMs + LAUNCH
    const all = runner.groups(task, variant)
    for (let groups = 1; ; groups *= GROWTH) {
      const part = groups < all && groups <= runner.device.capabilities.maxWorkgroups ? groups : undefined
      let ms = await this.#fromStart(variant, most, part)
      for (let i = 0; i < REPEATS && ms > most && ms < HOPELESS * most; i++) {
        ms = Math.min(ms, await this.#fromStart(variant, most, part))
      }
      if (!(ms > most)) {
        if (part === undefined) return undefined
        continue
      }
      costModel.add(this.#kernel, variant.name, this.#work, ms)
      this.#result.slow[variant.name] = ms
      const extent = part === undefined ? '' : ` for ${part} of ${all} workgroups`
      return `took ${ms < HOPELESS * most ? '' : 'more than '}${ms.toPrecision(3)} ms${extent}, the default ${this.#defaultMs.toPrecision(3)}`
    }
  }

  /** @returns the reason if the last run wrote other values than the default */
  async #whyWrong(): Promise<string | undefined> {
    const results = await this.#input.runner.results(this.#scratch, Math.max(PATIENCE, this.#remaining()))
    return this.#scratch.differs(this.#expected, results) ? 'gives other values than the default' : undefined
  }

  /**
   * Times variants in turn and leaves out those that fall behind, but never the default.
   * @returns for each variant its least milliseconds
   */
  async #timeAll(variants: readonly Variant<any>[]): Promise<Record<string, number>> {
    const { runner, task, fallback } = this.#input
    if (variants.length === 1) return { [fallback.name]: this.#defaultMs }
    const ms: Record<string, number> = {}
    const runs = Math.max(1, Math.min(MOST_RUNS, Math.round(TIMED / this.#defaultMs)))
    const limit = HOPELESS * (SLOWER * this.#defaultMs + LAUNCH) * runs
    let running = variants
    for (let round = 0; round < ROUNDS && running.length > 1 && this.#remaining() > 0; round++) {
      for (const variant of running) {
        if (this.#remaining() < 0) break
        const found = await runner.time(task, variant, this.#scratch, limit, runs)
        ms[variant.name] = Math.min(found, ms[variant.name] ?? found)
      }
      const best = Math.min(...Object.values(ms))
      running = running.filter((variant) => variant === fallback || ms[variant.name]! <= BEHIND * best)
    }
    if (!(fallback.name in ms)) throw new LateError('no time left')
    return ms
  }

  /**
   * Runs a variant on the initial values.
   * @param most the milliseconds of an acceptable run
   * @returns the milliseconds, at most `HOPELESS` times `most`, when the wait ends
   * @throws LateError when fewer than `most` milliseconds remain
   */
  async #fromStart(variant: Variant<any>, most: number, groups: number | undefined): Promise<number> {
    if (this.#remaining() < most) throw new LateError('no time left')
    const limit = Math.min(HOPELESS * most, this.#remaining())
    this.#scratch.reset()
    try {
      return await this.#once(variant, limit, groups)
    } catch (error) {
      if (!(error instanceof LateError)) throw error
      if (!(await this.#input.runner.recover(this.#remaining()))) this.#result.broke = 'busy'
      return HOPELESS * most
    }
  }

  #once(variant: Variant<any>, limit: number, groups?: number): Promise<number> {
    return this.#input.runner.run(this.#input.task, variant, this.#scratch, limit, groups)
  }
}
