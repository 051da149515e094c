import type { KvWatchEntry } from '@nats-io/kv'
import type { QueuedIterator } from '@nats-io/nats-core'
import { reason, UserError } from '../../engine/index.ts'
import { FORMAT } from '../run/format.ts'
import type { Settings } from '../settings.ts'
import type { Check } from '../study/run/check.ts'
import type { RunJob } from '../study/run/job.ts'
import type { JobHooks, Outcome } from '../study/run/processes.ts'
import { changeClaim, hasEnded, parseClaim, readClaim } from './claim.ts'
import { RunFolderFiles } from './folderSite.ts'
import type { Claim, Result, RunMessage } from './messages.ts'
import { claimKey, QUEUE, runSubject, type Target } from './names.ts'
import { patiently, pause, within } from './patience.ts'
import { parseWorker } from './presence.ts'
import { queuedRuns, removeQueued } from './queue.ts'
import { checkOnlyResult, checkRecord, ForgedError, removeRecords } from './records.ts'
import { fetchFiles, removeFiles } from './runFiles.ts'
import { type FleetStore, LEASE } from './store.ts'

/** Milliseconds after which entries are read that a watch, whose server was away, may have missed, and the queue is looked at. */
const LOOK_AGAIN = 10_000
/** Results of a run in a row that cannot be used, after which it has failed. */
const MAX_UNUSABLE = 4
/** Tries to fetch the files of a result. */
const FETCHES = 3
/** Tries to take out of the queue what is left of runs that have ended. */
const SWEEPS = 5

/** The facts that all runs of a study share. */
export interface DispatchedStudy {
  study: string
  preset: string
  /** The name of the study's folder. */
  folder: string
  code: string
  sources: string
  data: string
  target: Target
  /** Whether an arm has code of its own, or a procedure, beside settings. */
  hasOwn(arm: string): boolean
}

export interface DispatcherOptions {
  /** Is called with the check of each device that trained a run. */
  onCheck(check: Check): Promise<void>
  note(text: string): void
  /** Milliseconds after which the run of a worker that says nothing goes to another one; default half a minute. */
  lease?: number | undefined
}

/** Publishes runs of a study, waits for their ends, and fetches their files. */
export class Dispatcher {
  readonly #store: FleetStore
  readonly #study: DispatchedStudy
  readonly #onCheck: (check: Check) => Promise<void>
  readonly #note: (text: string) => void
  readonly #lease: number
  /** Callbacks for the next change of a run's entry, by key of the run. */
  readonly #waiting = new Map<string, (claim: Claim | undefined) => void>()
  readonly #progress = new Map<string, (step: number, label: string) => void>()
  /** Runs that are waited for, by key. */
  readonly #jobs = new Map<string, RunJob>()
  readonly #stops = new WeakMap<AbortSignal, Promise<undefined>>()
  #watches: QueuedIterator<KvWatchEntry>[] = []
  #looking: ReturnType<typeof setInterval> | undefined
  /** The last look at the queue, which may still go on. */
  #look: Promise<void> = Promise.resolve()

  /** Makes the queue of the target, and follows the entries of the study's runs. */
  static async open(
    store: FleetStore,
    study: DispatchedStudy,
    { onCheck, note, lease = LEASE }: DispatcherOptions,
  ): Promise<Dispatcher> {
    await store.makeConsumer(study.target, lease)
    const dispatcher = new Dispatcher(store, study, { onCheck, note, lease })
    await dispatcher.#watch()
    return dispatcher
  }

  private constructor(
    store: FleetStore,
    study: DispatchedStudy,
    { onCheck, note, lease }: DispatcherOptions & { lease: number },
  ) {
    this.#store = store
    this.#study = study
    this.#onCheck = onCheck
    this.#note = note
    this.#lease = lease
  }

  /** Does a run in the fleet: its files lie in the folder of the job when this resolves. */
  async do(job: RunJob, hooks: JobHooks): Promise<Outcome> {
    const { signal } = hooks
    const stopped = this.#stopped(signal)
    this.#progress.set(job.key, (step, label) => hooks.onProgress?.(step, label))
    this.#jobs.set(job.key, job)
    try {
      for (let unusable = 1; ; unusable++) {
        const published = this.#publish(job)
        // After a stop nothing waits for it.
        published.catch(() => {})
        if ((await Promise.race([published, stopped])) === undefined && signal.aborted) return { how: 'stopped' }
        const claim = await this.#end(job, stopped)
        if (!claim) return { how: 'stopped' }
        if (claim === 'gone') return { how: 'failed', message: 'it was taken out of the fleet', asked: true }
        if (claim.state === 'failed') return { how: 'failed', message: failureOf(claim), asked: true }
        const problem = await this.#collect(job, claim)
        if (problem === undefined) return { how: 'done' }
        if (unusable === MAX_UNUSABLE) return { how: 'failed', message: problem, asked: true }
        this.#note(`${job.arm}, ${job.key.slice(0, 8)}: is done again: ${problem}`)
      }
    } catch (error) {
      return { how: 'failed', message: reason(error), asked: error instanceof UserError }
    } finally {
      this.#progress.delete(job.key)
      this.#jobs.delete(job.key)
    }
  }

  /** Ends the watch, and removes what workers and a server that were killed left of runs that have ended. */
  async close(): Promise<void> {
    clearInterval(this.#looking)
    for (const watch of this.#watches) watch.stop()
    const { files, claims } = this.#store
    const { folder } = this.#study
    // A look that goes on may offer a run that has ended meanwhile.
    await this.#look
    const swept = () =>
      this.#sweep().then(
        () => true,
        () => false,
      )
    for (let tries = 1; !(await swept()) && tries < SWEEPS; tries++) await pause()
    const left = await within('the list of files', files.list()).catch(() => [])
    const states = new Map<string, Claim['state'] | undefined>()
    for (const { name, deleted } of left) {
      const [of, key] = name.split('/')
      if (deleted || of !== folder || key === undefined) continue
      if (!states.has(key)) states.set(key, (await readClaim(claims, claimKey(folder, key)))?.claim.state)
      if (states.get(key) === 'collected') await files.delete(name).catch(() => {})
    }
  }

  /** Resolves when a signal aborts. All runs of a study share one listener, since Node warns of many. */
  #stopped(signal: AbortSignal): Promise<undefined> {
    let stopped = this.#stops.get(signal)
    if (!stopped) {
      stopped = new Promise<undefined>((resolve) => {
        if (signal.aborted) resolve(undefined)
        signal.addEventListener('abort', () => resolve(undefined), { once: true })
      })
      this.#stops.set(signal, stopped)
    }
    return stopped
  }

  /** Waits until a published run has ended, or its entry is gone. @returns undefined when it should stop */
  async #end({ key }: RunJob, stopped: Promise<undefined>): Promise<Claim | 'gone' | undefined> {
    const ended = new Promise<Claim | 'gone'>((resolve) => {
      this.#waiting.set(key, (claim) => {
        if (!claim) resolve('gone')
        else if (hasEnded(claim)) resolve(claim)
      })
    })
    try {
      // The entry is there since the run was published, so that its absence means something.
      const first = (await readClaim(this.#store.claims, claimKey(this.#study.folder, key)))?.claim
      if (!first) return 'gone'
      return hasEnded(first) ? first : await Promise.race([ended, stopped])
    } finally {
      this.#waiting.delete(key)
    }
  }

  /** Puts a run into the queue, unless it is there or has ended. A run that failed before, or whose files are gone, begins anew. */
  async #publish(job: RunJob): Promise<void> {
    const { claims, manager } = this.#store
    const { folder, target } = this.#study
    const lane = 'class' in target ? target.class : target.worker
    const entry = { format: FORMAT, arm: job.arm, lane }
    let written: Claim | undefined
    const after = await changeClaim(claims, claimKey(folder, job.key), (before) => {
      if (before && (written || !['failed', 'collected'].includes(before.state))) return undefined
      written = { ...entry, state: 'waiting', attempt: before?.attempt ?? 0, failures: [] }
      return written
    })
    if (after?.state === 'done') return
    if (written) {
      // Whatever is left of an earlier life of the run is none of this one.
      await patiently(() => removeQueued(manager, runSubject(target, folder, job.key)))
      await patiently(() => removeRecords(this.#store, { folder, key: job.key }))
    }
    await this.#offer(job)
  }

  /** Publishes the message of a run, again and again until the server has it. */
  async #offer(job: RunJob): Promise<void> {
    const { streams, manager } = this.#store
    const { target, study, hasOwn, ...fixed } = this.#study
    const { kind, key, arm, saveEvery, flops, tune } = job
    const { dataDir, download, ...settings } = job.settings as Settings & Record<string, unknown>
    const message: RunMessage = {
      format: FORMAT,
      study,
      ...fixed,
      kind,
      key,
      arm,
      settings,
      saveEvery,
      flops,
      tune,
      own: hasOwn(arm),
    }
    const subject = runSubject(target, fixed.folder, key)
    const msgID = `${key}-${crypto.randomUUID()}`
    for (;;) {
      try {
        const there = await manager.streams.getMessage(QUEUE, { last_by_subj: subject }).catch(() => null)
        if (there) return
        // The server knows a message again whose answer was lost.
        await streams.publish(subject, JSON.stringify(message), { msgID })
        return
      } catch (error) {
        if (this.#store.connection.isClosed()) throw error
        await pause()
      }
    }
  }

  /**
   * Fetches the files of a run that is done, and marks it as collected.
   * @returns undefined, or why its result cannot be used, after which the run is to be published again
   */
  async #collect(job: RunJob, claim: Claim): Promise<string | undefined> {
    const { files, claims } = this.#store
    const { key } = job
    const { folder } = this.#study
    const { result } = claim
    if (claim.state === 'collected') throw new UserError('its files were fetched by another study')
    const problem = result ? await this.#fetch(job, result) : 'its entry names no result'
    await changeClaim(claims, claimKey(folder, key), (before) => {
      if (before?.state !== 'done') return undefined
      const { result, ...rest } = before
      return { ...rest, state: 'collected' }
    })
    await removeFiles(files, result?.files ?? [])
    return problem
  }

  /** Fetches the files of a result that its worker recorded. @returns undefined, or why it cannot be used */
  async #fetch({ key, folder: to }: RunJob, result: Result): Promise<string | undefined> {
    const store = this.#store
    const { folder } = this.#study
    for (let tries = 1; ; tries++) {
      try {
        await patiently(async () => {
          await checkRecord(store, { folder, key }, result)
          await checkOnlyResult(store, { folder, key }, result)
          await fetchFiles(store.files, result.files, new RunFolderFiles(to), 'run.json')
        })
        if (result.check) await this.#onCheck(result.check)
        return undefined
      } catch (error) {
        if (!(error instanceof UserError)) throw error
        // Files may seem to be damaged because the server went away in between.
        if (error instanceof ForgedError || tries === FETCHES) return error.message
        await pause()
      }
    }
  }

  /** Reads the entries of all runs that are waited for, and sees that the queue offers those that nobody has. */
  async #lookAgain(): Promise<void> {
    const { claims, manager } = this.#store
    const { folder, target } = this.#study
    const waiting = [...this.#waiting]
    const queued = await queuedRuns(manager, folder)
    const offers = await this.#store.makeConsumer(target, this.#lease)
    for (const [key, settle] of waiting) {
      const found = await readClaim(claims, claimKey(folder, key))
      settle(found?.claim)
      const job = this.#jobs.get(key)
      if (!job || !found || hasEnded(found.claim) || !this.#waiting.has(key)) continue
      // A server that was killed, or another worker, may have lost the message, or the consumer that offers it.
      if (queued.has(key) && offers > 0) continue
      await removeQueued(manager, runSubject(target, folder, key))
      await this.#offer(job)
    }
    await this.#sweep(queued)
  }

  /** Takes messages of runs that have ended out of the queue: a server that was killed may bring them back. */
  async #sweep(queued?: Map<string, string[]>): Promise<void> {
    const { claims, manager } = this.#store
    const { folder } = this.#study
    for (const [key, subjects] of queued ?? (await queuedRuns(manager, folder))) {
      const found = await readClaim(claims, claimKey(folder, key))
      if (!found || !hasEnded(found.claim)) continue
      for (const subject of subjects) await removeQueued(manager, subject)
    }
  }

  /** Follows the entries of the study's runs and those of the workers. */
  async #watch(): Promise<void> {
    const { claims, workers } = this.#store
    const { folder } = this.#study
    const runs = await claims.watch({ key: `${folder}.*` })
    const shown = await workers.watch()
    this.#watches = [runs, shown]
    const follow = async (entries: QueuedIterator<KvWatchEntry>, on: (entry: KvWatchEntry) => void) => {
      for await (const entry of entries) {
        try {
          on(entry)
        } catch (error) {
          this.#note(`ignored: ${reason(error)}`)
        }
      }
    }
    let looks = false
    this.#looking = setInterval(() => {
      if (looks) return
      looks = true
      this.#look = this.#lookAgain()
        .catch(() => {})
        .finally(() => {
          looks = false
        })
    }, LOOK_AGAIN)
    void follow(runs, (entry) => {
      const settle = this.#waiting.get(entry.key.slice(folder.length + 1))
      settle?.(entry.operation === 'PUT' ? parseClaim(entry).claim : undefined)
    })
    void follow(shown, (entry) => {
      if (entry.operation !== 'PUT') return
      const { run, name } = parseWorker(entry.string())
      if (run) this.#progress.get(run.key)?.(run.step, `${run.label}, on ${name}`)
    })
  }
}

function failureOf({ failures }: Claim): string {
  const last = failures.at(-1)
  if (!last) return 'it failed'
  return failures.length === 1
    ? `${last.worker}: ${last.reason}`
    : `${failures.length} attempts failed; the last on ${last.worker}: ${last.reason}`
}
