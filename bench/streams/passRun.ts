import { DeviceLostError, reason } from '../../engine/index.ts'
import { MODES, type Mode } from '../../model/index.ts'
import type { LabelledImages } from '../../train/data/microBatch.ts'
import type { MicroBatch } from '../../train/index.ts'
import { checkComputed } from '../outputs.ts'
import { normDifference, quantiles } from '../statistics.ts'
import { within } from '../target.ts'
import type { Candidate, Pass, Values } from './candidate.ts'
import { type MeasureOptions, measure } from './measure.ts'
import { forwardPass, type Resident, trainingStep } from './oneDevice.ts'
import { type Counted, EAGER, makeRows, type Row } from './rows.ts'
import { distributedPass, pipelinePass } from './severalDevices.ts'
import type { StreamsReport } from './streamsReport.ts'
import { loadBatch, type Workbench } from './workbench.ts'

/** Largest norm-relative difference that rounding explains, for each pass. */
const TOLERANCE: Record<Pass, number> = { forward: 1e-5, step: 1e-4 }

/** Rounds that choose the fastest candidate of an entry. */
const CHOICE_ROUNDS = 3

/** Options of a `PassRun`, which decide how its candidates are made and measured. */
export interface PassOptions extends MeasureOptions {
  /** Numbers of micro-batches that the pipeline tries. */
  microBatches: readonly number[]
}

/** A candidate with the right values, and its counts. */
type Checked = { candidate: Candidate; counted: Counted }

/** The candidates for one row, of which the fastest is taken. Each has a label that tells it from the others. */
interface Entry {
  name: string
  choices: readonly (readonly [label: string, make: () => Candidate])[]
}

/** Checks, counts and times the candidates of one pass at one batch size. */
export class PassRun {
  readonly #bench: Workbench
  readonly #report: StreamsReport
  readonly #options: PassOptions
  readonly #at: Pick<Row, 'batch' | 'pass'>
  readonly #tell: (share: number, what: string) => void
  /** The values of the first candidate of each architecture, with which those of the others are compared. */
  readonly #expected = new Map<Candidate['architecture'], Values>()

  /**
   * @param report the report to which the run adds its rows, choices and failures
   * @param at the pass and the batch size
   * @param tell called with the part of the run that is done, 0 to 1, and with what comes next
   */
  constructor(
    bench: Workbench,
    report: StreamsReport,
    options: PassOptions,
    at: Pick<Row, 'batch' | 'pass'>,
    tell: (share: number, what: string) => void,
  ) {
    this.#bench = bench
    this.#report = report
    this.#options = options
    this.#at = at
    this.#tell = tell
  }

  /** Adds rows, choices and failures to the report. @throws DeviceLostError */
  async run(): Promise<void> {
    const { data, resident } = loadBatch(this.#bench, this.#at.batch)
    const checked: Checked[] = []
    try {
      const entries = this.#entries(data, resident)
      for (const [i, entry] of entries.entries()) {
        this.#tell((0.5 * i) / entries.length, entry.name)
        const found = await this.#take(entry)
        if (found) checked.push(found)
      }
      this.#tell(0.5, 'timing')
      const candidates = checked.map(({ candidate }) => candidate)
      const series = await measure(candidates, this.#options)
      const measured = checked.map((row, i) => ({ ...row, series: series[i]! }))
      const right: typeof measured = []
      for (const row of measured) if (await this.#stillRight(row.candidate)) right.push(row)
      this.#report.rows.push(...makeRows(this.#at, right))
    } finally {
      for (const { candidate } of checked) candidate.dispose()
      for (const t of [resident.images, resident.labels]) t.dispose()
    }
  }

  /** The entries to compare; the eager model of each architecture comes first. */
  #entries(data: LabelledImages, batch: MicroBatch): Entry[] {
    const { paraformer, vit, several, sizes } = this.#bench
    const { pass } = this.#at
    const alone = (who: Resident, name: string, mode: Mode, captured: boolean): Entry => {
      const setup = { ...who, name, mode, captured, batch }
      const scheme = who === vit ? 'joint' : sizes.scheme
      return { name, choices: [['', () => (pass === 'forward' ? forwardPass(setup) : trainingStep(setup, scheme))]] }
    }
    const spreads = (several?.distributions ?? []).map((distribution) => {
      return [distribution.mode, () => distributedPass(distribution, pass, data, sizes.scheme)] as const
    })
    const numbers = this.#options.microBatches.filter((number) => several && this.#at.batch % number === 0)
    const pipelines = numbers.map((number) => {
      return [String(number), () => pipelinePass(vit.model, several!, pass, data, number)] as const
    })
    return [
      alone(paraformer, EAGER, 'serial', false),
      ...MODES.map((mode) => alone(paraformer, mode, mode, true)),
      { name: 'devices', choices: spreads },
      alone(vit, EAGER, 'serial', false),
      alone(vit, 'serial', 'serial', true),
      { name: 'pipeline', choices: pipelines },
    ]
  }

  /** Finds the fastest candidate of an entry among those that give the right values. */
  async #take({ name, choices }: Entry): Promise<Checked | undefined> {
    const found: { label: string; checked: Checked }[] = []
    for (const [label, make] of choices) {
      const checked = await this.#check(`${name} ${label}`.trim(), make)
      if (checked) found.push({ label, checked })
    }
    if (found.length < 2) return found[0]?.checked
    const candidates = found.map(({ checked }) => checked.candidate)
    const series = await measure(candidates, { time: 0, minRounds: CHOICE_ROUNDS, queue: false, clocks: new Map() })
    const times = series.map(({ latency }) => quantiles(latency).median)
    const ms = Object.fromEntries(found.map(({ label }, i) => [label, times[i]!]))
    this.#report.choices.push({ ...this.#at, name: name as 'devices' | 'pipeline', ms })
    const best = times.indexOf(Math.min(...times))
    for (const [i, candidate] of candidates.entries()) if (i !== best) candidate.dispose()
    return found[best]?.checked
  }

  /** Whether the last timed run of a candidate gave the right values; if not, the report gets a failure. */
  async #stillRight(candidate: Candidate): Promise<boolean> {
    try {
      const values = await candidate.last()
      within(
        difference(values, this.#expected.get(candidate.architecture)!),
        TOLERANCE[this.#at.pass],
        'values of the timed runs',
      )
      return true
    } catch (error) {
      if (error instanceof DeviceLostError) throw error
      this.#report.failures.push({ ...this.#at, name: candidate.name, reason: reason(error) })
      return false
    }
  }

  /**
   * Makes a candidate, checks its values against the first one of its architecture, and counts a run; reports a failure
   * otherwise.
   */
  async #check(name: string, make: () => Candidate): Promise<Checked | undefined> {
    let candidate: Candidate | undefined
    try {
      candidate = make()
      const values = await candidate.values()
      const expected = this.#expected.get(candidate.architecture) ?? values
      checkComputed([joined(expected, [...expected.keys()])])
      this.#expected.set(candidate.architecture, expected)
      const error = within(difference(values, expected), TOLERANCE[this.#at.pass], 'values')
      return { candidate, counted: { ...(await countRun(candidate)), error } }
    } catch (error) {
      if (error instanceof DeviceLostError) throw error
      this.#report.failures.push({ ...this.#at, name, reason: reason(error) })
      candidate?.dispose()
      return undefined
    }
  }
}

/** Counts dispatches, submits, moved bytes and memory of one run. */
async function countRun(candidate: Candidate): Promise<Omit<Counted, 'error'>> {
  const total = () =>
    candidate.devices.reduce(
      (sum, { counts }) => ({ dispatches: sum.dispatches + counts.dispatches, submits: sum.submits + counts.submits }),
      { dispatches: 0, submits: 0 },
    )
  const [before, movedBefore] = [total(), candidate.moved?.() ?? 0]
  await candidate.submit()
  const after = total()
  await candidate.wait()
  if (after.dispatches === before.dispatches) throw new Error('a run dispatches nothing to its devices')
  const memory = await candidate.memory?.()
  const chain = candidate.chain?.()
  return {
    dispatches: after.dispatches - before.dispatches,
    submits: after.submits - before.submits,
    moved: (candidate.moved?.() ?? 0) - movedBefore,
    ...(memory && { memory }),
    ...(chain !== undefined && { chain }),
  }
}

/**
 * Returns the norm-relative difference of all values of `actual` from those of the same names in `expected`.
 * @throws Error when `actual` is empty, or has a name that `expected` lacks
 */
export function difference(actual: Values, expected: Values): number {
  const names = [...actual.keys()]
  const odd = names.find((name) => !expected.has(name))
  if (odd !== undefined) throw new Error(`gives ${odd}, which the first of its kind does not`)
  return normDifference(joined(actual, names), joined(expected, names))
}

/** Returns the values of these names as one list. */
function joined(values: Values, names: readonly string[]): Float32Array {
  const parts = names.map((name) => values.get(name)!)
  const all = new Float32Array(parts.reduce((sum, { length }) => sum + length, 0))
  let at = 0
  for (const part of parts) {
    all.set(part, at)
    at += part.length
  }
  return all
}
