import { existsSync } from 'node:fs'
import { CheckpointWriter } from './checkpointWriter.ts'
import type { HeldFolder } from './folder.ts'
import type { RunData } from './loaders.ts'
import { evaluationMetrics, stepMetrics } from './metrics.ts'
import { MetricsLog } from './metricsLog.ts'
import { placeBefore } from './position.ts'
import { type RunRecord, writeRunRecord } from './record.ts'
import { writeSettings } from './settingsFile.ts'
import type { StepTimes } from './stepTimes.ts'
import type { Trainer } from './trainer.ts'
import type { StepReport } from './trainerParts.ts'

/** The parts of a run's data that its files describe. */
export type WrittenData = Pick<RunData, 'dataset' | 'info' | 'split'>

export interface RunHooks {
  /** Asks the run to save and end. */
  shouldStop(): boolean
  /** Is called with the number of mini-batches done. */
  onProgress(miniBatches: number, label: string): void
  note(text: string): void
  /** Is called when a checkpoint lies in the folder, after so many mini-batches. */
  onSaved?(miniBatches: number): void
}

/** Writes the files of a run while it trains without a terminal of its own: settings, metrics and checkpoints. */
export class RunWriter {
  readonly #held: HeldFolder
  readonly #data: WrittenData
  readonly #hooks: RunHooks
  #metrics: MetricsLog | undefined
  #checkpoints: CheckpointWriter | undefined

  constructor(held: HeldFolder, data: WrittenData, hooks: RunHooks) {
    this.#held = held
    this.#data = data
    this.#hooks = hooks
  }

  /** Mini-batches done in the last checkpoint, if there is one. */
  get savedStep(): number | undefined {
    return this.#checkpoints?.savedStep
  }

  /**
   * Trains to the end, or until it should stop, and saves.
   * @param times began when the first mini-batch was waited for
   * @param onStep is called after each mini-batch of finite numbers
   * @returns whether it came to the end
   */
  async train(trainer: Trainer, times: StepTimes, onStep?: (report: StepReport) => void): Promise<boolean> {
    const { folder, lock } = this.#held
    const { info, dataset, split } = this.#data
    const { note, shouldStop, onProgress } = this.#hooks
    const { settings, model } = trainer.parts
    const place = { step: trainer.position.step, evaluationDue: trainer.evaluationDue }
    const resumes = existsSync(folder.checkpoint)
    await writeSettings(folder.settings, { settings, config: model.config, dataset }, resumes ? note : undefined)
    this.#metrics ??= await MetricsLog.open(folder.metrics, place, note)
    const metrics = this.#metrics
    await metrics.rewind(place)
    this.#checkpoints ??= new CheckpointWriter({ folder, lock, metrics, info, say: note }, resumes ? place.step : undefined)
    const checkpoints = this.#checkpoints
    let before = trainer.elapsed
    return trainer.run({
      shouldStop,
      onStep(report) {
        times.done()
        onStep?.(report)
        metrics.write(...stepMetrics(report, report.images / (report.time - before)))
        before = report.time
        onProgress(report.position.step, `loss ${report.losses.at(-1)!.at(-1)!.toFixed(4)}`)
      },
      onEvaluating: (images, of) => onProgress(trainer.position.step, `evaluating ${images}/${of}`),
      onEpoch({ epoch, ...found }) {
        const { position, scheme, flops, elapsed: time } = trainer
        const { pass } = placeBefore(position, scheme)
        metrics.write(...evaluationMetrics(found, { time, epoch, pass, step: position.step, split, flops: flops.total }))
        before = time
        times.begin()
      },
      onSave: async () => {
        const { step } = trainer.position
        await checkpoints.save(trainer)
        if (checkpoints.savedStep === step) this.#hooks.onSaved?.(step)
      },
    })
  }

  /**
   * Writes what is left to write after `train`: a checkpoint whose last save failed, and the model and the record of a finished run.
   * @throws FileError when a file cannot be written
   */
  async end(trainer: Trainer, record: RunRecord | undefined): Promise<void> {
    await this.#metrics!.sync()
    await this.#checkpoints!.end(trainer, record)
  }

  /** Writes the record of a run that diverged, whose model is of no use. @throws FileError when it cannot be written */
  async endDiverged(record: RunRecord): Promise<void> {
    await this.#metrics!.sync()
    await writeRunRecord(this.#held.folder.record, record)
  }

  /** @throws FileError when metrics are missing */
  async close(): Promise<void> {
    await this.#metrics?.close()
  }
}
