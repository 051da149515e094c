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
import type { Claim, RunMessage } from './messages.ts'
import { claimKey, QUEUE, runSubject, type Target } from './names.ts'
import { parseWorker } from './presence.ts'
import { fetchFiles, removeFiles } from './runFiles.ts'
import { type FleetStore, LEASE } from './store.ts'

/** Milliseconds between tries to publish while the server does not answer. */
const PAUSE = 1000
/** Milliseconds after which entries are read that a watch, whose server was away, may have missed. */
const LOOK_AGAIN = 10_000

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
  /** Callbacks for the next change of a run's entry, by key of the run. */
  readonly #waiting = new Map<string, (claim: Claim | undefined) => void>()
  readonly #progress = new Map<string, (step: number, label: string) => void>()
  #watches: QueuedIterator<KvWatchEntry>[] = []
  #looking: ReturnType<typeof setInterval> | undefined

  /** Makes the queue of the target, and follows the entries of the study's runs. */
  static async open(
    store: FleetStore,
    study: DispatchedStudy,
    { onCheck, note, lease = LEASE }: DispatcherOptions,
  ): Promise<Dispatcher> {
    await store.makeConsumer(study.target, lease)
    const dispatcher = new Dispatcher(store, study, onCheck, note)
    await dispatcher.#watch()
    return dispatcher
  }

  private constructor(
    store: FleetStore,
    study: DispatchedStudy,
    onCheck: (check: Check) => Promise<void>,
    note: (text: string) => void,
  ) {
    this.#store = store
    this.#study = study
    this.#onCheck = onCheck
    this.#note = note
  }

  /** Does a run in the fleet: its files lie in the folder of the job when this resolves. */
  async do(job: RunJob, hooks: JobHooks): Promise<Outcome> {
    const { store, key } = { store: this.#store, key: claimKey(this.#study.folder, job.key) }
    const { signal } = hooks
    const stopped = new Promise<undefined>((resolve) => {
      if (signal.aborted) resolve(undefined)
      signal.addEventListener('abort', () => resolve(undefined), { once: true })
    })
    this.#progress.set(job.key, (step, label) => hooks.onProgress?.(step, label))
    try {
      const published = this.#publish(job)
      // After a stop nothing waits for it.
      published.catch(() => {})
      if ((await Promise.race([published, stopped])) === undefined && signal.aborted) return { how: 'stopped' }
      // From here on the entry is there, so that its absence means something.
      const ended = this.#ended(job.key)
      const first = (await readClaim(store.claims, key))?.claim
      if (!first) return { how: 'failed', message: 'it was taken out of the fleet', asked: true }
      const claim = hasEnded(first) ? first : await Promise.race([ended, stopped])
      if (!claim) return { how: 'stopped' }
      if (claim === 'gone') return { how: 'failed', message: 'it was taken out of the fleet', asked: true }
      if (claim.state === 'failed') return { how: 'failed', message: failureOf(claim), asked: true }
      return await this.#collect(job, claim)
    } catch (error) {
      return { how: 'failed', message: reason(error), asked: error instanceof UserError }
    } finally {
      this.#progress.delete(job.key)
      this.#waiting.delete(job.key)
    }
  }

  /** Ends the watch, and removes what attempts that were killed left of runs whose files are fetched. */
  async close(): Promise<void> {
    clearInterval(this.#looking)
    for (const watch of this.#watches) watch.stop()
    const { files, claims } = this.#store
    const { folder } = this.#study
    const left = await files.list().catch(() => [])
    const states = new Map<string, Claim['state'] | undefined>()
    for (const { name, deleted } of left) {
      const [of, key] = name.split('/')
      if (deleted || of !== folder || key === undefined) continue
      if (!states.has(key)) states.set(key, (await readClaim(claims, claimKey(folder, key)))?.claim.state)
      if (states.get(key) === 'collected') await files.delete(name).catch(() => {})
    }
  }

  /** Waits until a run has ended, or its entry is gone. */
  #ended(key: string): Promise<Claim | 'gone'> {
    return new Promise((resolve) => {
      this.#waiting.set(key, (claim) => {
        if (!claim) resolve('gone')
        else if (hasEnded(claim)) resolve(claim)
      })
    })
  }

  /** Puts a run into the queue, unless it is there or has ended. A run that failed before, or whose files are gone, begins anew. */
  async #publish(job: RunJob): Promise<void> {
    const { claims } = this.#store
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
    await this.#offer(job, after?.attempt ?? 0)
  }

  /** Publishes the message of a run, again and again until the server has it. */
  async #offer(job: RunJob, attempt: number): Promise<void> {
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
    const subject = runSubject(target, study, key)
    for (;;) {
      try {
        const there = await manager.streams.getMessage(QUEUE, { last_by_subj: subject }).catch(() => null)
        if (there) return
        // The number of attempts belongs to the name, so that a run which failed can be offered again within the hour.
        await streams.publish(subject, JSON.stringify(message), { msgID: `${key}-${attempt}` })
        return
      } catch (error) {
        if (this.#store.connection.isClosed()) throw error
        await new Promise((resolve) => setTimeout(resolve, PAUSE))
      }
    }
  }

  /** Fetches the files of a run that is done, and marks it as collected. */
  async #collect(job: RunJob, claim: Claim): Promise<Outcome> {
    const { files, claims } = this.#store
    if (claim.state === 'collected') return { how: 'failed', message: 'its files were fetched by another study', asked: true }
    await fetchFiles(files, claim.result ?? [], new RunFolderFiles(job.folder), 'run.json')
    if (claim.check) await this.#onCheck(claim.check)
    await changeClaim(claims, claimKey(this.#study.folder, job.key), (before) => {
      if (before?.state !== 'done') return undefined
      const { result, ...rest } = before
      return { ...rest, state: 'collected' }
    })
    await removeFiles(files, claim.result ?? [])
    return { how: 'done' }
  }

  /** Reads the entries of all runs that are waited for. */
  async #look(): Promise<void> {
    for (const [key, settle] of [...this.#waiting]) {
      const found = await readClaim(this.#store.claims, claimKey(this.#study.folder, key))
      settle(found?.claim)
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
    this.#looking = setInterval(() => void this.#look().catch(() => {}), LOOK_AGAIN)
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
