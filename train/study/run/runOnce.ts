import { existsSync } from 'node:fs'
import { deviceKey } from '../../../engine/autotune/store.ts'
import { tuneDevice } from '../../../engine/autotune/tune.ts'
import { TunedVariants } from '../../../engine/autotune/tuned.ts'
import { type Device, reason, requestDevice } from '../../../engine/index.ts'
import { evaluate, spoiledPrefixes } from '../../evaluate.ts'
import { readRun, type SavedRun } from '../../run/checkpoint.ts'
import { openData } from '../../run/data.ts'
import { existingRunFolder, type HeldFolder, newRunFolder } from '../../run/folder.ts'
import { type RunData, testLoader } from '../../run/loaders.ts'
import { checkMemory } from '../../run/memory.ts'
import { trainWithRestarts } from '../../run/restarts.ts'
import { type RunHooks, RunWriter } from '../../run/runWriter.ts'
import { configOf, startTrainer } from '../../run/start.ts'
import { StepTimes } from '../../run/stepTimes.ts'
import type { Trainer } from '../../run/trainer.ts'
import { checkpointIn } from '../results/folder.ts'
import { type ArmParts, armParts } from './armParts.ts'
import { isDivergence } from './divergence.ts'
import { expansionRun } from './expansionRun.ts'
import type { RunJob } from './job.ts'
import { measureModel } from './measure.ts'
import { divergedRecord, type Judged, type Reached, studyRecord } from './studyRecord.ts'

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

/** A run in a process of its own, which outlives the loss of its device. */
class StudyRun {
  readonly #job: RunJob
  readonly #hooks: RunHooks
  readonly #held: HeldFolder
  readonly #data: RunData
  readonly #own: ArmParts
  readonly #writer: RunWriter

  constructor(job: RunJob, hooks: RunHooks, held: HeldFolder, data: RunData, own: ArmParts) {
    this.#job = job
    this.#hooks = hooks
    this.#held = held
    this.#data = data
    this.#own = own
    this.#writer = new RunWriter(held, data, hooks)
  }

  async train(from: SavedRun | undefined): Promise<boolean> {
    const { adapter } = this.#job
    const lastSaved = async () => {
      return this.#writer.savedStep === undefined ? from : readRun(this.#held.folder.checkpoint, this.#own)
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
      await this.#writer.close()
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
    let last: Reached = { position: { ...trainer.position }, flops: trainer.flops.total }
    let finished: boolean
    try {
      finished = await this.#writer.train(trainer, times, (report) => {
        last = report
      })
    } catch (error) {
      if (!isDivergence(error)) throw error
      return this.#diverged(trainer, times, reason(error), last)
    }
    const spoiled = finished ? spoiledPrefixes(trainer.history.at(-1)!.losses) : undefined
    if (spoiled !== undefined) return this.#diverged(trainer, times, `${spoiled} at the end`, last)
    const found = finished && this.#job.kind === 'run' ? await this.#judge(trainer) : undefined
    const done = finished && (this.#job.kind === 'trial' || found !== undefined)
    await this.#writer.end(trainer, done ? studyRecord(this.#job, trainer, this.#data, times, found) : undefined)
    return done
  }

  /** Records a run that ends because it diverged. @param last its last mini-batch of finite numbers */
  async #diverged(trainer: Trainer, times: StepTimes, why: string, last: Reached): Promise<boolean> {
    await this.#writer.endDiverged(divergedRecord(this.#job, trainer, this.#data, times, why, last))
    return true
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
}
