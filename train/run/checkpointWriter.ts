import { FileError } from '../../engine/index.ts'
import { sampleAttention, writeAttention } from './attention.ts'
import { saveCheckpoint, saveModel } from './checkpoint.ts'
import type { RunFolder } from './folder.ts'
import type { RunLock } from './lock.ts'
import type { DataInfo } from './metadata.ts'
import type { MetricsLog } from './metricsLog.ts'
import { type RunRecord, writeRunRecord } from './record.ts'
import type { Trainer } from './trainer.ts'

/** Milliseconds before each further try to write the files of a run's end. All tries together end within a grace period of 5 s. */
const PAUSES = [500, 1500]

export interface CheckpointWriterParts {
  folder: RunFolder
  lock: Pick<RunLock, 'hold'>
  metrics: Pick<MetricsLog, 'sync'>
  info: DataInfo
  say(text: string): void
}

/**
 * Writes the checkpoints of a run. A disk that is full for a while does not end the training: a checkpoint that cannot be written is
 * left to the next save, and is an error only at the end.
 */
export class CheckpointWriter {
  /** Mini-batches done in the checkpoint of the folder, if there is one. */
  savedStep: number | undefined
  readonly #parts: CheckpointWriterParts
  #failure: FileError | undefined

  /** @param savedStep mini-batches done in the checkpoint from which the run goes on */
  constructor(parts: CheckpointWriterParts, savedStep?: number) {
    this.#parts = parts
    this.savedStep = savedStep
  }

  /** Writes a checkpoint, or says why it cannot be written. */
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
   * Writes the files of a run's end: the checkpoint, if its last save failed, and the model, its attention and the record of a
   * finished run.
   * @param record describes the run, if it came to its end
   * @throws FileError when a file cannot be written
   */
  async end(trainer: Trainer, record: RunRecord | undefined): Promise<void> {
    const { folder, info } = this.#parts
    if (this.#failure) await insist(() => this.#write(trainer))
    if (!record) return
    await insist(async () => saveModel(folder.model, await trainer.result(), info))
    const { model, evaluation, distributed, ema } = trainer.parts
    // Where branches live on other devices, no device has the whole model.
    const look = () => sampleAttention(model, evaluation, info)
    const sample = distributed ? undefined : await (ema ? ema.evaluate(look) : look())
    if (sample) await insist(() => writeAttention(folder.attention, sample))
    await insist(() => writeRunRecord(folder.record, record))
  }

  async #write(trainer: Trainer): Promise<void> {
    const { folder, metrics, info } = this.#parts
    const { step } = trainer.position
    await metrics.sync()
    const { model, optimizer } = await trainer.saved()
    await saveCheckpoint(folder.checkpoint, model, optimizer, trainer.state(), info, trainer.parts.ema)
    this.savedStep = step
    this.#failure = undefined
  }

  #last(): string {
    return this.savedStep === undefined ? 'not there yet' : `that of mini-batch ${this.savedStep}`
  }
}

/** Writes, and tries again for a while when that fails. @throws FileError of the last try */
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
