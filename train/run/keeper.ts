import { FileError } from '../../engine/index.ts'
import { saveCheckpoint, saveModel } from './checkpoint.ts'
import type { RunFolder } from './folder.ts'
import type { RunLock } from './lock.ts'
import type { DataInfo } from './metadata.ts'
import type { MetricsLog } from './metrics.ts'
import type { Trainer } from './trainer.ts'

/** Milliseconds before each further try to write what the run ends with: all tries together end within a grace of 5 s. */
const PAUSES = [500, 1500]

export interface KeeperParts {
  folder: RunFolder
  lock: Pick<RunLock, 'hold'>
  metrics: Pick<MetricsLog, 'sync'>
  info: DataInfo
  say(text: string): void
}

/**
 * Writes the checkpoints of a run. A disk that is full for a while ends no training: a checkpoint that cannot be written is left to the
 * next one, and only at the end is it an error.
 */
export class Keeper {
  /** Mini-batches that the checkpoint in the folder has, if there is one. */
  kept: number | undefined
  readonly #parts: KeeperParts
  #failure: FileError | undefined

  /** @param kept mini-batches that the checkpoint has from which the run goes on */
  constructor(parts: KeeperParts, kept?: number) {
    this.#parts = parts
    this.kept = kept
  }

  /** Writes a checkpoint, or says that it cannot be written. */
  async save(trainer: Trainer): Promise<void> {
    const { lock, say } = this.#parts
    try {
      await lock.hold()
      await this.#write(trainer)
    } catch (error) {
      if (!(error instanceof FileError)) throw error
      this.#failure = error
      say(`${error.message}; the checkpoint is ${this.#last()}, the next save tries again`)
    }
  }

  /**
   * Sees to it that what a run ends with is written.
   * @param finished whether the model is, too
   * @throws FileError when it cannot be
   */
  async end(trainer: Trainer, finished: boolean): Promise<void> {
    const { folder, info } = this.#parts
    if (this.#failure) await insist(() => this.#write(trainer))
    if (finished) await insist(async () => saveModel(folder.model, (await trainer.saved()).model, info))
  }

  async #write(trainer: Trainer): Promise<void> {
    const { folder, metrics, info } = this.#parts
    const { step } = trainer.position
    await metrics.sync()
    const { model, optimizer } = await trainer.saved()
    await saveCheckpoint(folder.checkpoint, model, optimizer, trainer.state(), info)
    this.kept = step
    this.#failure = undefined
  }

  #last(): string {
    return this.kept === undefined ? 'not there yet' : `that of mini-batch ${this.kept}`
  }
}

/** Tries again for a while what cannot be written. @throws FileError of the last try */
async function insist(write: () => Promise<void>): Promise<void> {
  for (const pause of PAUSES) {
    try {
      return await write()
    } catch (error) {
      if (!(error instanceof FileError)) throw error
      await new Promise((resolve) => setTimeout(resolve, pause))
    }
  }
  await write()
}
