import { existsSync } from 'node:fs'
import { deviceKey } from '../../../engine/autotune/store.ts'
import { tuneDevice } from '../../../engine/autotune/tune.ts'
import { TunedVariants } from '../../../engine/autotune/tuned.ts'
import { type Device, reason, requestDevice, UserError } from '../../../engine/index.ts'
import { type Evaluation, evaluate, spoiledPrefixes } from '../../evaluate.ts'
import { readRun, type SavedRun } from '../../run/checkpoint.ts'
import { CheckpointWriter } from '../../run/checkpointWriter.ts'
import { openData, type RunData } from '../../run/data.ts'
import { existingRunFolder, type HeldFolder, newRunFolder } from '../../run/folder.ts'
import { checkMemory } from '../../run/memory.ts'
import { evaluationMetrics, MetricsLog, stepMetrics } from '../../run/metrics.ts'
import { placeBefore } from '../../run/position.ts'
import { type RunRecord, runRecord } from '../../run/record.ts'
import { trainWithRestarts } from '../../run/restarts.ts'
import { writeSettings } from '../../run/settingsFile.ts'
import { configOf, startTrainer } from '../../run/start.ts'
import { StepTimes } from '../../run/stepTimes.ts'
import type { Trainer } from '../../run/trainer.ts'
import { BUILD } from '../plan/build.ts'
import { checkpointIn } from '../results/folder.ts'
import { type ArmParts, armParts } from './armParts.ts'
import { expansionRun } from './expansionRun.ts'
import type { RunHooks, RunJob } from './job.ts'
import { type Measures, measureModel, testLoader } from './measure.ts'

/**
 * Begins or resumes a run of a study, and trains it to its end, or until it should stop. At the end a run, but no trial, is
 * evaluated once on the test images, and run.json is written.
 * @returns whether it came to the end
 */
export async function runOnce(job: RunJob, hooks: RunHooks): Promise<boolean> {
  const { folder: path, settings, bundle, arm } = job
  const resumes = existsSync(checkpointIn(path))
  const held = resumes ? await existingRunFolder(path, hooks.note) : await newRunFolder(path, settings, hooks.note)
  try {
    const own = await armParts(bundle, arm)
    const { ownModel, procedure } = own
    if (procedure?.name === 'expand') return await expansionRun(job, procedure, held, hooks)
    const from = resumes ? await readRun(held.folder.checkpoint, { ownModel }) : undefined
    const data = await openData(settings)
    try {
      return await new StudyRun(job, hooks, held, data, own).train(from)
    } finally {
      await Promise.all([data.train.close(), data.evaluation.close()])
    }
  } finally {
    await held.lock.release()
  }
}

/** The test scores of a trained model, and what its arm's procedure measured. */
interface Judged {
  test: Evaluation
  measures?: Measures
}

/** A run in a process of its own, which outlives the loss of its device. */
class StudyRun {
  readonly #job: RunJob
  readonly #hooks: RunHooks
  readonly #held: HeldFolder
  readonly #data: RunData
  readonly #own: ArmParts
  #metrics: MetricsLog | undefined
  #checkpoints: CheckpointWriter | undefined

  constructor(job: RunJob, hooks: RunHooks, held: HeldFolder, data: RunData, own: ArmParts) {
    this.#job = job
    this.#hooks = hooks
    this.#held = held
    this.#data = data
    this.#own = own
  }

  async train(from: SavedRun | undefined): Promise<boolean> {
    const { adapter } = this.#job
    const lastSaved = async () => {
      return this.#checkpoints?.savedStep === undefined ? from : readRun(this.#held.folder.checkpoint, this.#own)
    }
    let times = new StepTimes()
    try {
      return await trainWithRestarts({
        from,
        lastSaved,
        open: () => {
          times = new StepTimes()
          return requestDevice({ adapter })
        },
        start: (device, at, before) => this.#start(device, at, before),
        train: (trainer) => this.#trainWith(trainer, times),
        mayRestart: () => !this.#hooks.shouldStop(),
        onLost: (loss, step) => this.#hooks.note(`${reason(loss)}; training goes on from mini-batch ${step}`),
      })
    } finally {
      await this.#metrics?.close()
    }
  }

  async #start(device: Device, from: SavedRun | undefined, before: Trainer | undefined): Promise<Trainer> {
    const { settings, saveEvery, tune } = this.#job
    const config = configOf(settings, this.#data)
    checkMemory(settings, config, { software: device.capabilities.software, images: this.#data.train.count })
    const variants = from?.state.variants ?? before?.state().variants
    const chooseVariants = async (work: () => void) => {
      if (variants && variants.device === deviceKey(device.summary)) device.kernels.tuned = new TunedVariants(variants)
      else await tuneDevice(device, tune, work)
    }
    const options = { saveEvery, chooseVariants, ...this.#own.options(device, config) }
    // A run goes on in the mode that was found to be fastest.
    const resolved = from?.state.settings ?? before?.parts.settings ?? settings
    return startTrainer(device, resolved, this.#data, options, from)
  }

  /** @param times began with the request of the device */
  async #trainWith(trainer: Trainer, times: StepTimes): Promise<boolean> {
    const { folder, lock } = this.#held
    const { info, dataset } = this.#data
    const { note } = this.#hooks
    const { settings, model } = trainer.parts
    const place = { step: trainer.position.step, evaluationDue: trainer.evaluationDue }
    const resumes = existsSync(folder.checkpoint)
    await writeSettings(folder.settings, { settings, config: model.config, dataset }, resumes ? note : undefined)
    this.#metrics ??= await MetricsLog.open(folder.metrics, place, note)
    const metrics = this.#metrics
    await metrics.rewind(place)
    this.#checkpoints ??= new CheckpointWriter({ folder, lock, metrics, info, say: note }, resumes ? place.step : undefined)
    const checkpoints = this.#checkpoints
    const finished = await this.#loop(trainer, metrics, checkpoints, times)
    const spoiled = finished ? spoiledPrefixes(trainer.history.at(-1)!.losses) : undefined
    if (spoiled !== undefined) throw new UserError(`${spoiled} at the end; the arm diverges with these settings`)
    const found = finished && this.#job.kind === 'run' ? await this.#judge(trainer) : undefined
    const done = finished && (this.#job.kind === 'trial' || found !== undefined)
    await metrics.sync()
    await checkpoints.end(trainer, done ? this.#record(trainer, times, found) : undefined)
    return done
  }

  #loop(trainer: Trainer, metrics: MetricsLog, checkpoints: CheckpointWriter, times: StepTimes): Promise<boolean> {
    const { shouldStop, onProgress } = this.#hooks
    const { split } = this.#data
    let before = trainer.elapsed
    return trainer.run({
      shouldStop,
      onStep(report) {
        times.done()
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
      onSave: () => checkpoints.save(trainer),
    })
  }

  /** Evaluates on the test images, and measures as the procedure of the arm says. @returns undefined when it should stop */
  async #judge(trainer: Trainer): Promise<Judged | undefined> {
    const { settings, model, mode, distributed } = trainer.parts
    const { procedure } = this.#own
    const loader = testLoader(this.#data, settings)
    const stopped = new Error('the evaluation was interrupted')
    const onBatch = (images: number) => {
      this.#hooks.onProgress(trainer.position.step, `testing ${images}/${loader.count}`)
      if (images < loader.count && this.#hooks.shouldStop()) throw stopped
    }
    const onMeasuring = (label: string) => {
      this.#hooks.onProgress(trainer.position.step, label)
      if (this.#hooks.shouldStop()) throw stopped
    }
    try {
      const test = await evaluate(model, loader, onBatch, distributed ?? mode)
      if (!procedure || procedure.name === 'expand') return { test }
      return { test, measures: await measureModel(procedure, trainer, this.#data, this.#held.folder, onMeasuring) }
    } catch (error) {
      if (error === stopped) return undefined
      throw error
    } finally {
      await loader.close()
    }
  }

  #record(trainer: Trainer, times: StepTimes, { test, measures }: Partial<Judged> = {}): RunRecord & { sources: string } {
    const { key, arm, flops } = this.#job
    const { commit, clean, sources } = BUILD
    const record = runRecord(trainer, this.#data, times, { commit, clean })
    const scores = test && { images: test.images, loss: test.losses, accuracy: test.accuracies }
    const final = { ...record.final, ...(scores && { test: scores }) }
    return { ...record, key, arm, sources, trainingFlops: flops ?? record.trainingFlops, ...(measures && { measures }), final }
  }
}
