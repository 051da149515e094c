import { existsSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { files } from '#platform'
import { FORMAT } from '../../run/format.ts'
import { LineFile } from '../../run/lines.ts'
import { canonical } from '../plan/canonical.ts'
import type { PlannedRun } from '../plan/plan.ts'
import { recordIn, runPath, type StudyFolder } from './folder.ts'
import { currentHash, hasOwnCode, type Registered, type Stated, statedBy } from './registration.ts'
import { type Result, readRecord, readResults, readTrials, type StudyRecord, type Trial } from './results.ts'

/** The results and trials of a study, which one process at a time appends to. */
export class Ledger {
  readonly folder: StudyFolder
  readonly registered: Registered
  readonly results: Result[]
  readonly trials: Trial[]
  readonly #resultFile: LineFile
  readonly #trialFile: LineFile | undefined

  /** Reads and opens the files. @param tunes whether the study has trials @throws UserError as `readResults` */
  static async open(folder: StudyFolder, registered: Registered, tunes: boolean, say: (text: string) => void): Promise<Ledger> {
    const results = await readResults(folder.results, registered)
    const trials = await readTrials(folder.trials, registered)
    // A last line that a killed process did not finish is cut off.
    const open = (path: string) => LineFile.open(path, () => false, say)
    return new Ledger(
      folder,
      registered,
      { results, trials },
      await open(folder.results),
      tunes ? await open(folder.trials) : undefined,
    )
  }

  private constructor(
    folder: StudyFolder,
    registered: Registered,
    found: { results: Result[]; trials: Trial[] },
    resultFile: LineFile,
    trialFile: LineFile | undefined,
  ) {
    this.folder = folder
    this.registered = registered
    this.results = found.results
    this.trials = found.trials
    this.#resultFile = resultFile
    this.#trialFile = trialFile
  }

  /** Returns the result of a planned run, if it is finished. */
  resultOf({ arm, seed }: PlannedRun): Result | undefined {
    return this.results.find((result) => result.arm === arm && result.seed === seed)
  }

  trialOf({ key }: PlannedRun): Trial | undefined {
    return this.trials.find((trial) => trial.key === key)
  }

  /**
   * Takes results out that a deviation made stale: those of another statement of their arm, or with other settings. They are kept in
   * superseded.jsonl, and their runs are done anew.
   */
  async supersede(runs: readonly PlannedRun[]): Promise<number> {
    const stale = runs.flatMap((run) => {
      const result = this.resultOf(run)
      return result && this.#isStale(result, run) ? [result] : []
    })
    if (stale.length === 0) return 0
    const path = `${this.folder.path}/superseded.jsonl`
    const before = existsSync(path) ? await readFile(path, 'utf8') : ''
    const lines = (results: readonly Result[]) => results.map((result) => `${JSON.stringify(result)}\n`).join('')
    await files.write(path, before + lines(stale))
    const kept = this.results.filter((result) => !stale.includes(result))
    this.results.splice(0, this.results.length, ...kept)
    await files.write(this.folder.results, lines(kept))
    return stale.length
  }

  #isStale(result: Result, { arm, key, settings }: PlannedRun): boolean {
    if (result.key === key) return false
    const all = statedBy(this.registered)
    const then = all.find(({ hash }) => hash === result.registration)!
    const now = all.at(-1)!
    if (hasOwnCode(now.statement, arm) && then.code !== now.code) return true
    const { dataDir, download, ...own } = result.settings as Record<string, unknown>
    const { dataDir: _, download: __, ...planned } = settings
    const armOf = ({ statement }: Stated) => canonical(statement.arms[arm] ?? null)
    return armOf(then) !== armOf(now) || canonical(own) !== canonical(planned)
  }

  /** Reads the record of a run from its folder; undefined until it has ended. */
  recordOf({ key, trial }: PlannedRun): Promise<StudyRecord | undefined> {
    return readRecord(recordIn(runPath(this.folder, trial ? 'trial' : 'run', key)))
  }

  /** Appends the result of a run that has ended. @param trials the number of trials that its settings were chosen among */
  async addResult({ settings }: PlannedRun, record: StudyRecord, trials: number): Promise<void> {
    const result: Result = { ...record, registration: currentHash(this.registered), settings, trials }
    this.results.push(result)
    this.#resultFile.append(JSON.stringify(result))
    await this.#resultFile.sync()
  }

  /** Appends a trial with the record of its run. */
  async addTrial({ key, arm, seed, trial }: PlannedRun, found: StudyRecord): Promise<void> {
    const { index, values } = trial!
    const outcome = found.diverged === undefined ? { validation: found.final.validation } : { failed: found.diverged }
    const registration = currentHash(this.registered)
    const line: Trial = { format: FORMAT, registration, key, arm, seed, trial: index, values, ...outcome }
    this.trials.push(line)
    this.#trialFile!.append(JSON.stringify(line))
    await this.#trialFile!.sync()
  }

  /** @throws FileError when lines could not be written */
  async close(): Promise<void> {
    await this.#resultFile.close()
    await this.#trialFile?.close()
  }
}
