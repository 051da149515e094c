import { reason, UserError } from '../../engine/index.ts'
import { canonical } from '../study/plan/canonical.ts'
import type { Check } from '../study/run/check.ts'
import type { Outcome } from '../study/run/processes.ts'
import { changeClaim, checkFence, FencedError } from './claim.ts'
import type { RunSite } from './machine.ts'
import type { Claim, Result, RunMessage, StoredFile } from './messages.ts'
import { claimKey } from './names.ts'
import { patiently, pause } from './patience.ts'
import { checkRecord, writeRecord } from './records.ts'
import { CHECKPOINT_FILES, fetchFiles, isResult, removeFiles, storeFiles } from './runFiles.ts'
import type { FleetStore } from './store.ts'

/** Milliseconds of tries to store a result while the server does not answer. */
const PATIENCE = 600_000

/** The parts of an attempt. */
export interface AttemptParts {
  store: FleetStore
  message: RunMessage
  site: RunSite
  /** The entry as this attempt claimed it. */
  claim: Claim
  worker: string
  /** The device of this worker, as `deviceKey` names it. */
  device: string
  /** The check of that device. */
  check: Check | undefined
  /** Aborts when the worker is asked to end. */
  signal: AbortSignal
  note(text: string): void
  onProgress(step: number, label: string): void
}

/** How an attempt ended. */
export type AttemptEnd =
  | { how: 'done' }
  /** The worker was asked to end; the run can go on elsewhere. */
  | { how: 'stopped' }
  /** Another attempt has the run. */
  | { how: 'fenced'; message: string }
  | { how: 'failed'; message: string; asked: boolean }

/**
 * An attempt at a run: training in a process of its own, beside which this one keeps the lease. Each checkpoint is stored before the entry
 * of the run points to it, and each change of the entry proves that the attempt still has the run.
 */
export class Attempt {
  readonly #parts: AttemptParts
  readonly #key: string
  /** Ends the process of the run, when the worker ends or the run is lost. */
  readonly #ends = new AbortController()
  #fenced: FencedError | undefined
  #wanted: number | undefined
  #storing: Promise<void> = Promise.resolve()
  #step = 0

  constructor(parts: AttemptParts) {
    this.#parts = parts
    this.#key = claimKey(parts.message.folder, parts.message.key)
  }

  /** Trains the run to its end, or until something else ends the attempt. */
  async run(): Promise<AttemptEnd> {
    const { signal, site } = this.#parts
    const stop = () => this.#ends.abort()
    if (signal.aborted) stop()
    signal.addEventListener('abort', stop)
    try {
      await site.clear()
      await this.#resume()
      const outcome = await site.train({
        signal: this.#ends.signal,
        note: this.#parts.note,
        onProgress: (step, label) => {
          this.#step = step
          this.#parts.onProgress(step, label)
        },
        onSaved: (step) => this.#save(step),
      })
      await this.#storing
      return await this.#end(outcome)
    } catch (error) {
      if (error instanceof FencedError) return { how: 'fenced', message: error.message }
      return { how: 'failed', message: reason(error), asked: false }
    } finally {
      signal.removeEventListener('abort', stop)
      await site.clear()
    }
  }

  /** Ends the attempt, because the run was given to another one. */
  fence(error: FencedError): void {
    this.#fenced ??= error
    this.#ends.abort()
  }

  async #end(outcome: Outcome): Promise<AttemptEnd> {
    const { store } = this.#parts
    if (this.#fenced) throw this.#fenced
    if (outcome.how === 'stopped') {
      await this.#storeCheckpoint(this.#step)
      return { how: 'stopped' }
    }
    if (outcome.how === 'failed') return outcome
    let before: Claim | undefined
    const result = await this.#storeResult()
    await this.#point(result.files, (claim) => {
      before = claim
      const { saved, ...rest } = claim
      return { ...rest, state: 'done', result }
    })
    if (before?.saved) await removeFiles(store.files, before.saved.files)
    return { how: 'done' }
  }

  /** Stores and records the result, again and again while the server is away: it took the whole run to compute. */
  async #storeResult(): Promise<Result> {
    const { store, site, message, claim, worker, check, note } = this.#parts
    const names = (await site.names()).filter(isResult)
    const until = performance.now() + PATIENCE
    for (let tries = 1; ; tries++) {
      let files: StoredFile[] = []
      try {
        files = await storeFiles(store.files, site, names, `${this.#prefix}/result-${tries}`)
        const stored = { worker, attempt: claim.attempt, files, check }
        return { ...stored, record: await writeRecord(store, message, stored) }
      } catch (error) {
        await removeFiles(store.files, files)
        const final = error instanceof UserError || /permission/i.test(reason(error)) || store.connection.isClosed()
        if (final || performance.now() > until) throw error
        if (tries === 1) note(`the result is not stored yet (${reason(error)}); trying again`)
        await pause()
      }
    }
  }

  get #prefix(): string {
    const { message, claim } = this.#parts
    return `${message.folder}/${message.key}/${claim.attempt}`
  }

  /** Fetches the last checkpoint, unless it is of another kind of device, on which the bits would be others, or not what its worker stored. */
  async #resume(): Promise<void> {
    const { store, message, claim, device, site, note } = this.#parts
    const { saved } = claim
    if (!saved) return
    if (saved.device !== device) return note(`begins anew, since its checkpoint is of ${saved.device}`)
    try {
      await patiently(async () => {
        await checkRecord(store, message, saved)
        await fetchFiles(store.files, saved.files, site, CHECKPOINT_FILES[0])
      })
      note(`goes on from mini-batch ${saved.step}${saved.worker === claim.worker ? '' : ` of ${saved.worker}`}`)
    } catch (error) {
      if (!(error instanceof UserError)) throw error
      await site.clear()
      note(`begins anew, since its checkpoint cannot be used: ${error.message}`)
    }
  }

  /** Stores the newest checkpoint after the one that is being stored. */
  #save(step: number): void {
    this.#wanted = step
    this.#storing = this.#storing.then(async () => {
      if (this.#wanted !== step) return
      try {
        await this.#storeCheckpoint(step)
      } catch (error) {
        if (error instanceof FencedError) this.fence(error)
        else this.#parts.note(`the checkpoint of mini-batch ${step} is not stored (${reason(error)}); the next one may be`)
      }
    })
  }

  async #storeCheckpoint(step: number): Promise<void> {
    const { store, site, device, worker, message, claim } = this.#parts
    const files = await storeFiles(store.files, site, CHECKPOINT_FILES, `${this.#prefix}/${step}-${Date.now().toString(36)}`)
    // The process may have ended before its first checkpoint.
    if (!files.some(({ name }) => name === CHECKPOINT_FILES[0])) return
    let before: Claim['saved']
    const stored = { worker, attempt: claim.attempt, files, device, step }
    const saved = { ...stored, record: await writeRecord(store, message, stored) }
    await this.#point(files, (claim) => {
      before = claim.saved
      return { ...claim, saved }
    })
    if (before) await removeFiles(store.files, before.files)
  }

  /** Has the entry point to files that were stored, which are removed when the attempt was given up meanwhile. */
  async #point(files: readonly StoredFile[], change: (claim: Claim) => Claim): Promise<void> {
    try {
      await this.#change(change)
    } catch (error) {
      await removeFiles(this.#parts.store.files, files)
      throw error
    }
  }

  /** Changes the entry, if this attempt still has the run. @throws FencedError otherwise */
  async #change(change: (claim: Claim) => Claim): Promise<void> {
    const { store, claim, worker } = this.#parts
    let written: Claim | undefined
    await changeClaim(store.claims, this.#key, (before) => {
      // A change whose answer was lost may have taken effect.
      if (written && canonical(before) === canonical(written)) return undefined
      written = change(checkFence(before, claim.attempt, worker))
      return written
    })
  }
}
