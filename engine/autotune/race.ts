import type { Variant } from '../../kernels/spec.ts'
import { DeviceLostError, reason } from '../errors.ts'
import { type Lab, LateError } from './lab.ts'
import type { Rates } from './rates.ts'
import { Scratch } from './scratch.ts'
import type { Problem } from './survey.ts'

/** Milliseconds that every candidate gets: drivers may compile for that long. With less left, none is begun. */
export const PATIENCE = 1000
/** A candidate that takes so many times as long as the default is out; one that takes `HOPELESS` times that is not waited for. */
const SLOWER = 2
const HOPELESS = 10
/** Milliseconds that a launch may cost on the host's clock besides. */
const LAUNCH = 1
/** The part of its workgroups that a candidate runs before all. */
const PART = 1 / 16
/** Times each variant is timed, in turn with the others; after each, those this much behind the fastest are out. */
const ROUNDS = 5
const BEHIND = 1.3
/** Milliseconds to time at once, and runs at most. */
const TIMED = 2
const MOST_RUNS = 64
/** What a candidate must gain over the default. */
const GAIN = 0.95

/** How a race ended. */
export interface Verdict {
  /** The fastest variant; undefined when the race was broken off. */
  variant?: string
  /** Least milliseconds of the variants that ran to the end. */
  ms: Record<string, number>
  /** Why others did not. */
  dropped: Record<string, string>
  /** The variant that is still running, or took the device down: the lab is of no more use. */
  broke?: { variant: string; lost: boolean }
}

/**
 * Finds the fastest of some variants for a problem. The default is run first; a candidate then runs one workgroup, some and
 * all of them, and is out where it does not compile, takes too long or writes other values. Those left are timed in turn.
 */
export class Race {
  readonly #lab: Lab
  readonly #problem: Problem
  readonly #rates: Rates
  readonly #deadline: number
  readonly #scratch: Scratch
  /** Milliseconds of the default on the host's clock, and what it wrote. */
  #usual = 0
  #expected: readonly ArrayBuffer[] = []

  /**
   * @param deadline of the host's clock
   * @throws OutOfMemoryError
   */
  constructor(lab: Lab, problem: Problem, rates: Rates, deadline: number) {
    this.#lab = lab
    this.#problem = problem
    this.#rates = rates
    this.#deadline = deadline
    this.#scratch = new Scratch(lab.device, problem)
  }

  /**
   * @param fallback the default
   * @throws LateError when there is no time; what the driver reports of the default
   */
  async run(fallback: Variant<any>, candidates: readonly Variant<any>[]): Promise<Verdict> {
    const verdict: Verdict = { ms: {}, dropped: {} }
    await this.#runDefault(fallback)
    const running = [fallback]
    for (const variant of candidates) {
      try {
        const why = await this.#tryOut(variant)
        if (why === undefined) running.push(variant)
        else verdict.dropped[variant.name] = why
      } catch (error) {
        if (error instanceof LateError && error.budget) throw error
        verdict.dropped[variant.name] = reason(error)
        const lost = error instanceof DeviceLostError
        if (lost || (error instanceof LateError && !(await this.#lab.recover(this.#remaining())))) {
          return { ...verdict, broke: { variant: variant.name, lost } }
        }
      }
    }
    verdict.ms = await this.#timeAll(running)
    for (const [name, ms] of Object.entries(verdict.ms)) this.#rates.add(this.#problem, name, ms)
    const [fastest, ms] = Object.entries(verdict.ms).reduce((best, one) => (one[1] < best[1] ? one : best))
    verdict.variant = ms < GAIN * verdict.ms[fallback.name]! ? fastest : fallback.name
    return verdict
  }

  dispose(): void {
    this.#scratch.dispose()
  }

  #remaining(): number {
    return this.#deadline - performance.now()
  }

  async #runDefault(variant: Variant<any>): Promise<void> {
    await this.#lab.compile(this.#problem, variant, this.#remaining())
    // Software drivers compile at the first launch.
    await this.#once(variant, this.#remaining())
    this.#scratch.reset()
    this.#usual = await this.#once(variant, this.#remaining())
    this.#expected = await this.#lab.results(this.#scratch, this.#remaining())
  }

  /** Runs a candidate with care. @returns why it is out, if it is */
  async #tryOut(variant: Variant<any>): Promise<string | undefined> {
    if (!this.#rates.couldTake(this.#problem, variant.name, this.#usual)) return 'was too slow on like problems'
    if (this.#remaining() < PATIENCE + ROUNDS * this.#usual) throw new LateError('no time left', true)
    await this.#lab.compile(this.#problem, variant, this.#remaining())
    // This may compile too, so that it has no limit of its own.
    await this.#once(variant, this.#remaining(), 1)
    const most = SLOWER * this.#usual + LAUNCH
    const part = Math.min(
      Math.ceil(PART * this.#lab.groups(this.#problem, variant)),
      this.#lab.device.capabilities.maxWorkgroups,
    )
    for (const groups of [part, undefined]) {
      this.#scratch.reset()
      let ms = await this.#once(variant, HOPELESS * most, groups)
      // Other work on the machine may have held it up.
      if (ms > most) ms = Math.min(ms, await this.#again(variant, HOPELESS * most, groups))
      if (!(ms > most)) continue
      this.#rates.add(this.#problem, variant.name, ms)
      const what = groups === undefined ? '' : ' for a part'
      return `took ${ms.toPrecision(3)} ms${what}, the default ${this.#usual.toPrecision(3)}`
    }
    const results = await this.#lab.results(this.#scratch, this.#remaining())
    return this.#scratch.differs(this.#expected, results) ? 'gives other values than the default' : undefined
  }

  /** Least milliseconds of each variant; the first stays in to the end. */
  async #timeAll(variants: readonly Variant<any>[]): Promise<Record<string, number>> {
    const [fallback] = variants
    if (variants.length === 1) return { [fallback!.name]: this.#usual }
    const ms: Record<string, number> = {}
    const runs = Math.max(1, Math.min(MOST_RUNS, Math.round(TIMED / this.#usual)))
    const limit = HOPELESS * (SLOWER * this.#usual + LAUNCH) * runs
    let running = variants
    for (let round = 0; round < ROUNDS && running.length > 1 && this.#remaining() > 0; round++) {
      for (const variant of running) {
        const found = await this.#lab.time(this.#problem, variant, this.#scratch, limit, runs)
        ms[variant.name] = Math.min(found, ms[variant.name] ?? found)
      }
      const best = Math.min(...Object.values(ms))
      running = running.filter((variant) => variant === fallback || ms[variant.name]! <= BEHIND * best)
    }
    if (!(fallback!.name in ms)) throw new LateError('no time left', true)
    return ms
  }

  /** Runs a variant on the values that it began with the last time. */
  #again(variant: Variant<any>, limit: number, groups: number | undefined): Promise<number> {
    this.#scratch.reset()
    return this.#once(variant, limit, groups)
  }

  #once(variant: Variant<any>, limit: number, groups?: number): Promise<number> {
    return this.#lab.run(this.#problem, variant, this.#scratch, limit, groups)
  }
}
