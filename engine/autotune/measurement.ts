import type { Variant } from '../../kernels/spec.ts'
import { DeviceLostError, reason } from '../base/errors.ts'
import type { CostModel, Work } from './costModel.ts'
import type { TuningTask } from './extractTasks.ts'
import { LateError, type Runner } from './runner.ts'
import { Scratch } from './scratch.ts'
import { kernelKey } from './tuned.ts'

/** Milliseconds after which a candidate that had so many for its first run is to blame: drivers may compile for that long. */
const PATIENCE = 1000
/** A candidate that takes so many times as long as the default is out; one that takes `HOPELESS` times that is not waited for. */
const SLOWER = 2
const HOPELESS = 10
/** Milliseconds that a launch may cost on the host's clock besides. */
const LAUNCH = 1
/** A candidate runs so many times as many workgroups each time, from one on: none can take long before it is found out. */
const GROWTH = 16
/** Times that a run which seems slow is repeated: other work on the machine may have held it up. */
const REPEATS = 2
/** Times each variant is timed, in turn with the others; after each, those this much behind the fastest are out. */
const ROUNDS = 5
const BEHIND = 1.3
/** Milliseconds to time at once, and runs at most. */
const TIMED = 2
const MOST_RUNS = 64
/** What a candidate must gain over the default. */
const GAIN = 0.95

/** What was found out about variants that are out: why, and the milliseconds that the slow ones took, for the whole or a part. */
export interface Findings {
  dropped: Record<string, string>
  slow: Record<string, number>
}

/** How a race ended. */
export interface MeasureResult extends Findings {
  /** The default. */
  fallback: string
  /** The fastest variant; undefined when the race did not come to its end. */
  variant?: string
  /** Least milliseconds of the variants that ran to the end. */
  ms: Record<string, number>
  /** The lab is of no more use: its device is still busy, or lost. */
  broke?: 'busy' | 'lost'
  /** The variant that is to blame for it: its first run did not end, or took the device down. */
  blamed?: string
}

/** What a race is run with. */
export interface Conditions {
  lab: Runner
  problem: TuningTask
  /** The default. */
  fallback: Variant<any>
  rates: CostModel
  /** Of the host's clock. */
  deadline: number
  /** What a race that did not come to its end found out. */
  before: Findings
}

/**
 * Finds the fastest of some variants for a problem. The default is run first; a candidate then runs one workgroup, some and
 * all of them, and is out where it does not compile, takes too long or writes other values. Those left are timed in turn.
 */
export class Measurement {
  readonly #conditions: Conditions
  readonly #scratch: Scratch
  readonly #kernel: string
  readonly #work: Work
  readonly #verdict: MeasureResult
  /** Milliseconds of the default on the host's clock, and what it wrote. */
  #usual = 0
  #expected: readonly ArrayBuffer[] = []

  /** @throws OutOfMemoryError */
  constructor(conditions: Conditions) {
    const { lab, problem, fallback, before } = conditions
    this.#conditions = conditions
    this.#scratch = new Scratch(lab.device, problem)
    this.#verdict = { fallback: fallback.name, ms: {}, dropped: { ...before.dropped }, slow: { ...before.slow } }
    this.#kernel = kernelKey(problem.spec)
    this.#work = { flops: problem.spec.flops(problem.problem), bytes: problem.spec.bytes(problem.problem) }
  }

  /** @throws what the driver reports of the default */
  async run(candidates: readonly Variant<any>[]): Promise<MeasureResult> {
    const { fallback, rates } = this.#conditions
    const verdict = this.#verdict
    try {
      await this.#runDefault()
      const running = [fallback]
      for (const variant of candidates) {
        if (variant.name in verdict.dropped) continue
        const why = await this.#tryOut(variant)
        if (why === undefined) running.push(variant)
        else verdict.dropped[variant.name] = why
        if (verdict.broke) return verdict
      }
      verdict.ms = await this.#timeAll(running)
    } catch (error) {
      if (error instanceof LateError) return verdict
      throw error
    }
    for (const [name, ms] of Object.entries(verdict.ms)) rates.add(this.#kernel, name, this.#work, ms)
    const [fastest, ms] = Object.entries(verdict.ms).reduce((best, one) => (one[1] < best[1] ? one : best))
    verdict.variant = ms < GAIN * verdict.ms[fallback.name]! ? fastest : fallback.name
    return verdict
  }

  dispose(): void {
    this.#scratch.dispose()
  }

  #remaining(): number {
    return this.#conditions.deadline - performance.now()
  }

  async #runDefault(): Promise<void> {
    const { lab, problem, fallback } = this.#conditions
    await lab.compile(problem, fallback, this.#remaining())
    // Software drivers compile at the first launch.
    await this.#once(fallback, this.#remaining())
    this.#scratch.reset()
    this.#usual = await this.#once(fallback, this.#remaining())
    this.#expected = await lab.results(this.#scratch, this.#remaining())
  }

  /** Runs a candidate with care. @returns why it is out, if it is. @throws LateError when there is no time for it */
  async #tryOut(variant: Variant<any>): Promise<string | undefined> {
    const { lab, problem, rates } = this.#conditions
    if (!rates.couldTake(this.#kernel, variant.name, this.#work, this.#usual)) return 'was too slow on like problems'
    try {
      await lab.compile(problem, variant, this.#remaining())
      await this.#runFirst(variant)
      return (await this.#whySlow(variant)) ?? (await this.#whyWrong())
    } catch (error) {
      if (error instanceof LateError) throw error
      if (error instanceof DeviceLostError) Object.assign(this.#verdict, { broke: 'lost', blamed: variant.name })
      return reason(error)
    }
  }

  /** Runs one workgroup. Software drivers compile meanwhile, so that there is no limit but the deadline. */
  async #runFirst(variant: Variant<any>): Promise<void> {
    const { lab } = this.#conditions
    const patient = this.#remaining() > PATIENCE
    try {
      await this.#once(variant, this.#remaining(), 1)
    } catch (error) {
      if (error instanceof LateError && patient && !(await lab.recover(0))) this.#verdict.blamed = variant.name
      throw error
    }
  }

  async #whySlow(variant: Variant<any>): Promise<string | undefined> {
    const { lab, problem, rates } = this.#conditions
    const most = SLOWER * this.#usual + LAUNCH
    const all = lab.groups(problem, variant)
    for (let groups = 1; ; groups *= GROWTH) {
      const part = groups < all && groups <= lab.device.capabilities.maxWorkgroups ? groups : undefined
      let ms = await this.#anew(variant, most, part)
      for (let i = 0; i < REPEATS && ms > most && ms < HOPELESS * most; i++) {
        ms = Math.min(ms, await this.#anew(variant, most, part))
      }
      if (!(ms > most)) {
        if (part === undefined) return undefined
        continue
      }
      rates.add(this.#kernel, variant.name, this.#work, ms)
      this.#verdict.slow[variant.name] = ms
      const what = part === undefined ? '' : ` for ${part} of ${all} workgroups`
      return `took ${ms < HOPELESS * most ? '' : 'more than '}${ms.toPrecision(3)} ms${what}, the default ${this.#usual.toPrecision(3)}`
    }
  }

  async #whyWrong(): Promise<string | undefined> {
    const results = await this.#conditions.lab.results(this.#scratch, Math.max(PATIENCE, this.#remaining()))
    return this.#scratch.differs(this.#expected, results) ? 'gives other values than the default' : undefined
  }

  /** Least milliseconds of each variant; the first stays in to the end. */
  async #timeAll(variants: readonly Variant<any>[]): Promise<Record<string, number>> {
    const { lab, problem, fallback } = this.#conditions
    if (variants.length === 1) return { [fallback.name]: this.#usual }
    const ms: Record<string, number> = {}
    const runs = Math.max(1, Math.min(MOST_RUNS, Math.round(TIMED / this.#usual)))
    const limit = HOPELESS * (SLOWER * this.#usual + LAUNCH) * runs
    let running = variants
    for (let round = 0; round < ROUNDS && running.length > 1 && this.#remaining() > 0; round++) {
      for (const variant of running) {
        if (this.#remaining() < 0) break
        const found = await lab.time(problem, variant, this.#scratch, limit, runs)
        ms[variant.name] = Math.min(found, ms[variant.name] ?? found)
      }
      const best = Math.min(...Object.values(ms))
      running = running.filter((variant) => variant === fallback || ms[variant.name]! <= BEHIND * best)
    }
    if (!(fallback.name in ms)) throw new LateError('no time left')
    return ms
  }

  /**
   * Runs a variant on the values that there were at first.
   * @returns milliseconds, at most ten times `most`: that long it is waited for
   * @throws LateError when there is not even time for `most`
   */
  async #anew(variant: Variant<any>, most: number, groups: number | undefined): Promise<number> {
    if (this.#remaining() < most) throw new LateError('no time left')
    const limit = Math.min(HOPELESS * most, this.#remaining())
    this.#scratch.reset()
    try {
      return await this.#once(variant, limit, groups)
    } catch (error) {
      if (!(error instanceof LateError)) throw error
      if (!(await this.#conditions.lab.recover(this.#remaining()))) this.#verdict.broke = 'busy'
      return HOPELESS * most
    }
  }

  #once(variant: Variant<any>, limit: number, groups?: number): Promise<number> {
    return this.#conditions.lab.run(this.#conditions.problem, variant, this.#scratch, limit, groups)
  }
}
