import { files } from '#platform'
import type { Tune } from '../../../engine/autotune/tune.ts'
import { UserError } from '../../../engine/index.ts'
import { RunLock } from '../../run/lock.ts'
import type { Settings } from '../../settings.ts'
import { type StudyData, studyData } from '../plan/data.ts'
import { Plan, type PlannedRun, statedSettings } from '../plan/plan.ts'
import { type Selection, withReferences } from '../plan/selection.ts'
import type { LoadedStudy } from '../plan/source.ts'
import { runPath, type StudyFolder, studyFolder } from '../results/folder.ts'
import { Ledger } from '../results/ledger.ts'
import { register } from '../results/registration.ts'
import type { StudyRecord } from '../results/results.ts'
import type { Check } from './check.ts'
import { checkDevice, paceOf, readChecks } from './checks.ts'
import { sum } from './expected.ts'
import type { CheckJob, JobStudy, RunJob } from './job.ts'
import { doJob, type JobHooks, type Outcome } from './processes.ts'
import { chooseTuned } from './tuning.ts'

/** Mini-batches between the checkpoints of a run. */
const SAVE_EVERY = 250

/** A request to run a part of a study. */
export interface StudyRequest {
  loaded: LoadedStudy
  preset: string
  selection: Selection
  /** Folder of all studies. */
  out: string
  /** Runs at a time. */
  jobs: number
  adapter?: string | undefined
  tune: Tune
  /** Reason for a change after the registration. */
  deviate?: string | undefined
  place: Pick<Partial<Settings>, 'dataDir' | 'download'>
  /** Opens what does the runs elsewhere; default processes of this machine, whose device is checked. */
  elsewhere?: ((folder: StudyFolder, data: StudyData, hooks: StudyHooks) => Promise<Elsewhere>) | undefined
}

/** A place other than this machine, where any number of runs are done at a time. */
export interface Elsewhere {
  /** Does a run. Its files lie in the folder of the job afterwards. */
  do(job: RunJob, hooks: JobHooks): Promise<Outcome>
  close(): Promise<void>
}

export interface StudyHooks {
  /** Ends the study when it aborts: the runs save, and a later call continues them. */
  signal: AbortSignal
  note(text: string): void
  /** Is called with the share of the work that is done, from 0 to 1. */
  onProgress(share: number, label: string): void
}

export interface StudyOutcome {
  folder: StudyFolder
  /** Number of the asked runs that are finished, and of all asked runs. */
  finished: number
  of: number
  /** Whether the study was asked to end before all was done. */
  stopped: boolean
  /** Runs that failed, each with its reason in one line. */
  failures: string[]
}

/** Reads the data of a study. @throws UserError when arms differ in it */
export async function dataOf({ loaded, preset, place }: Pick<StudyRequest, 'loaded' | 'preset' | 'place'>): Promise<StudyData> {
  const { study } = loaded
  const all = Object.keys(study.arms).map((arm) => statedSettings(study, preset, arm, study.seeds[0]!, place))
  const other = all.find(({ dataset }) => dataset !== all[0]!.dataset)
  if (other) throw new UserError(`study ${study.id}: arms train on ${all[0]!.dataset} and ${other.dataset}; use one data set`)
  return studyData(all[0]!)
}

/**
 * Does the runs of a study that are missing, each run in a process of its own, after the study is registered and the device is
 * checked.
 * @throws UserError in one line, before any run, for a study, a folder or a device that does not do
 */
export async function runStudy(request: StudyRequest, hooks: StudyHooks): Promise<StudyOutcome> {
  const { loaded, preset, selection, out, jobs } = request
  const { study } = loaded
  if (study.exclusive && jobs > 1)
    throw new UserError(`study ${study.id} measures times, so nothing may run beside a run; use --jobs 1`)
  const data = await dataOf(request)
  // Faults of the plan show before anything is written.
  new Plan({ ...request, data }).runs(selection.arms, selection.seeds)
  const folder = studyFolder(out, study.id, preset)
  const lock = await RunLock.take(folder.lock, hooks.note)
  try {
    const registered = await register(loaded, preset, folder, request.deviate)
    const ledger = await Ledger.open(folder, registered, study.tuning !== undefined, hooks.note)
    try {
      const elsewhere = await request.elsewhere?.(folder, data, hooks)
      try {
        return await new Execution(request, hooks, data, ledger, elsewhere).run()
      } finally {
        await elsewhere?.close()
      }
    } finally {
      await ledger.close()
    }
  } finally {
    await lock.release()
  }
}

class Execution {
  readonly #request: StudyRequest
  readonly #hooks: StudyHooks
  readonly #data: StudyData
  readonly #ledger: Ledger
  readonly #elsewhere: Elsewhere | undefined
  readonly #failures: string[] = []
  /** Operations of the whole study, of what is finished, and of the runs in progress. */
  #total = 0
  #done = 0
  readonly #active = new Map<PlannedRun, number>()

  constructor(request: StudyRequest, hooks: StudyHooks, data: StudyData, ledger: Ledger, elsewhere?: Elsewhere) {
    this.#elsewhere = elsewhere
    this.#request = request
    this.#hooks = hooks
    this.#data = data
    this.#ledger = ledger
  }

  get #stopped(): boolean {
    return this.#hooks.signal.aborted
  }

  async run(): Promise<StudyOutcome> {
    const { loaded, selection } = this.#request
    const { folder } = this.#ledger
    const { arms, seeds } = selection
    const before = await readChecks(folder.checks)
    // The lengths of some arms follow from others, which must be tuned for that.
    const involved = withReferences(loaded.study, arms)
    let plan = this.#plan(before, {})
    const trials = plan.trials(involved)
    this.#total = sum([...trials, ...plan.runs(arms, seeds)].map(({ work }) => work.flops))
    const isMissing = (run: PlannedRun) => !this.#ledger.resultOf(run)
    const missing = trials.some((trial) => !this.#ledger.trialOf(trial)) || plan.runs(arms, seeds).some(isMissing)
    if (missing || this.#request.deviate !== undefined) {
      await files.write(folder.bundle, loaded.code)
      // Elsewhere each worker checks its own device.
      const checks = this.#elsewhere ? before : await this.#check(plan, involved)
      if (!checks) return this.#outcome(plan.runs(arms, seeds))
      plan = this.#plan(checks, {})
      await this.#all(plan.trials(involved), 'trial', (trial) => this.#ledger.trialOf(trial) !== undefined)
      if (this.#stopped || this.#failures.length > 0) return this.#outcome(plan.runs(arms, seeds))
      plan = this.#plan(checks, chooseTuned(loaded.study, this.#ledger.trials))
      const superseded = await this.#ledger.supersede(plan.runs(arms, seeds))
      if (superseded > 0) this.#hooks.note(`${superseded} results of the study before its change are run anew`)
      await this.#all(plan.runs(arms, seeds), 'run', (run) => !isMissing(run))
    }
    return this.#outcome(plan.runs(arms, seeds))
  }

  #plan(checks: readonly Check[], tuned: Record<string, Partial<Settings>>): Plan {
    return new Plan({ ...this.#request, data: this.#data, pace: paceOf(checks), tuned })
  }

  get #jobStudy(): JobStudy {
    const { adapter, tune } = this.#request
    return { bundle: this.#ledger.folder.bundle, adapter, tune }
  }

  #check(plan: Plan, arms: readonly string[]): Promise<Check[] | undefined> {
    const { folder } = this.#ledger
    const job: CheckJob = { kind: 'check', ...this.#jobStudy, ...checkedArms(plan, arms), known: [] }
    return checkDevice(folder.checks, job, this.#request.loaded.hash, this.#hooks)
  }

  /** Does all runs that are not finished, some at a time. */
  async #all(runs: readonly PlannedRun[], kind: 'run' | 'trial', isFinished: (run: PlannedRun) => boolean): Promise<void> {
    for (const { work } of runs.filter(isFinished)) this.#done += work.flops
    const waiting = runs.filter((run) => !isFinished(run))
    const worker = async () => {
      for (let run = waiting.shift(); run && !this.#stopped; run = waiting.shift()) await this.#one(run, kind)
    }
    const atATime = this.#elsewhere ? waiting.length : this.#request.jobs
    await Promise.all(Array.from({ length: atATime }, worker))
  }

  async #one(run: PlannedRun, kind: 'run' | 'trial'): Promise<void> {
    const { arm, seed, settings, key, work, trial } = run
    const name = `${arm}, ${trial ? `trial ${trial.index + 1}` : `seed ${seed}`}`
    const folder = runPath(this.#ledger.folder, kind, key)
    // The run itself counts a built-in model.
    const flops = this.#request.loaded.study.arms[arm]!.count && work.flops
    const job: RunJob = { kind, ...this.#jobStudy, folder, key, arm, settings, saveEvery: SAVE_EVERY, flops }
    const found = await this.#ledger.recordOf(run)
    const outcome = found
      ? ({ how: 'done' } as const)
      : await (this.#elsewhere?.do.bind(this.#elsewhere) ?? doJob)(job, {
          ...this.#hooks,
          note: (text) => this.#hooks.note(`${name}: ${text}`),
          onProgress: (miniBatches, label) => this.#progress(run, miniBatches, `${name}: ${label}`),
        })
    this.#active.delete(run)
    if (outcome.how === 'stopped') return
    if (outcome.how === 'failed') {
      this.#failures.push(`${name}: ${outcome.message}`)
      return this.#hooks.note(`${name}: ${outcome.message}`)
    }
    const record = found ?? (await this.#ledger.recordOf(run))!
    if (kind === 'trial') await this.#ledger.addTrial(run, record)
    else await this.#ledger.addResult(run, record, this.#request.loaded.study.tuning?.trials ?? 0)
    this.#done += work.flops
    this.#hooks.note(`${name}: ${record.diverged === undefined ? scoreLine(record) : `diverged: ${record.diverged}`}`)
  }

  #progress(run: PlannedRun, miniBatches: number, label: string): void {
    this.#active.set(run, run.work.flops * Math.min(1, miniBatches / run.work.miniBatches))
    const done = this.#done + sum([...this.#active.values()])
    this.#hooks.onProgress(Math.min(1, done / this.#total), label)
  }

  #outcome(runs: readonly PlannedRun[]): StudyOutcome {
    const finished = runs.filter((run) => this.#ledger.resultOf(run)).length
    const stopped = this.#stopped && finished < runs.length
    return { folder: this.#ledger.folder, finished, of: runs.length, stopped, failures: this.#failures }
  }
}

/** Returns the arms of a check, each with its settings at the first seed. */
export function checkedArms(plan: Plan, arms: readonly string[]): Pick<CheckJob, 'arms'> {
  return { arms: plan.runs(arms, [plan.study.seeds[0]!]).map(({ arm, settings }) => ({ arm, settings })) }
}

function scoreLine({ final, measures = {}, wallSeconds }: StudyRecord): string {
  const [what, scores] = final.test ? ['test', final.test] : ['validation', final.validation]
  const accuracy = scores ? [`${what} accuracy ${(100 * scores.accuracy.at(-1)!).toFixed(2)} %`] : []
  const measured = Object.entries(measures).map(([name, value]) => `${name} ${Number(value.toPrecision(4))}`)
  return [...accuracy, ...measured, `${wallSeconds.toFixed(0)} s`].join(', ')
}
