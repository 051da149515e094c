import { files } from '#platform'
import { FileError, UserError } from '../../engine/index.ts'
import { readRun, type SavedRun, saveCheckpoint } from '../../train/run/checkpoint.ts'
import type { DataInfo } from '../../train/run/metadata.ts'
import type { Metric } from '../../train/run/metrics.ts'
import type { Trainer } from '../../train/run/trainer.ts'
import { CHECKPOINT, IN_MEMORY, METRICS } from './kept.ts'
import { keep, ownsStorage, stored } from './storage.ts'

/** Milliseconds of training between saves. */
const EVERY = 3000
/** Saving takes at most one part in so many of the time. */
const SHARE = 10

/** Saves a run: after its first mini-batch, every few seconds, and when it is asked. Where the browser keeps nothing, its checkpoint is in memory. */
export class Saver {
  readonly #note: (error: unknown) => void
  #place: string
  /** The mini-batch of the last checkpoint; undefined without one. */
  #step: number | undefined
  #next = 0
  #asked = false

  /** @param from the mini-batch of the kept checkpoint that the run goes on from. @param note tells why nothing is kept */
  constructor(place: string, from: number | undefined, note: (error: unknown) => void) {
    this.#place = place
    this.#step = from
    this.#note = note
  }

  /** @param from the mini-batch of the kept checkpoint that the run goes on from; undefined for a new run */
  static async open(from: number | undefined, note: (error: unknown) => void): Promise<Saver> {
    return new Saver((await ownsStorage()) ? CHECKPOINT : IN_MEMORY, from, note)
  }

  /** Whether the last checkpoint outlives the page. */
  get kept(): boolean {
    return this.#place === CHECKPOINT
  }

  /** The mini-batch of the last checkpoint; undefined without one. */
  get step(): number | undefined {
    return this.#step
  }

  /** Asks for a save after the mini-batch that is trained now. */
  ask(): void {
    this.#asked = true
  }

  /** Whether to save now. An evaluation is not interrupted, since it would begin anew. */
  isDue({ position, evaluationDue }: Trainer): boolean {
    if (evaluationDue || position.step === 0 || position.step === this.#step) return false
    return this.#asked || performance.now() >= this.#next
  }

  async save(trainer: Trainer, metrics: readonly Metric[], info: DataInfo): Promise<void> {
    const began = performance.now()
    const { model, optimizer } = await trainer.saved()
    const state = trainer.state()
    const save = (path: string) => saveCheckpoint(path, model, optimizer, state, info, trainer.parts.ema)
    try {
      // Metrics come first: those after the step of the checkpoint are cut off when it is read.
      await keep(METRICS, JSON.stringify(metrics))
      await stored(() => save(CHECKPOINT))
      this.#place = CHECKPOINT
    } catch (error) {
      if (!(error instanceof FileError)) throw error
      if (this.kept) this.#note(error)
      await save(IN_MEMORY)
      this.#place = IN_MEMORY
    }
    this.#step = state.position.step
    this.#asked = false
    const now = performance.now()
    this.#next = now + Math.max(EVERY, SHARE * (now - began))
  }

  /** Takes the checkpoint of a run that was opened. */
  async take(checkpoint: Uint8Array): Promise<void> {
    try {
      await keep(CHECKPOINT, checkpoint)
    } catch (error) {
      if (!(error instanceof FileError)) throw error
      this.#note(error)
      await files.write(IN_MEMORY, checkpoint)
      this.#place = IN_MEMORY
    }
  }

  /** Reads the last checkpoint; undefined without one. */
  async last(): Promise<SavedRun | undefined> {
    return this.#step === undefined ? undefined : readRun(this.#place)
  }

  /** Returns the bytes of the last checkpoint. @throws UserError without one */
  async bytes(): Promise<Uint8Array> {
    if (this.#step === undefined) throw new UserError('nothing of the run is saved yet; train a mini-batch first')
    return files.read(this.#place)
  }
}
