import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { UserError } from '../../../engine/index.ts'
import type { Dataset } from '../../data/datasets.ts'
import type { Split } from '../../data/split.ts'
import { readCheckpoint, readRun } from '../../run/checkpoint.ts'
import { existingRunFolder, type HeldFolder, newRunFolder } from '../../run/folder.ts'
import { readJsonFile } from '../../run/jsonFile.ts'
import type { DataInfo } from '../../run/metadata.ts'
import { RUN_RECORD, runRecord } from '../../run/record.ts'
import { RunWriter } from '../../run/runWriter.ts'
import { type Sources, sourcesOf } from '../../run/sources.ts'
import { StepTimes } from '../../run/stepTimes.ts'
import type { Trainer } from '../../run/trainer.ts'
import type { TrainerHooks } from '../../run/trainerParts.ts'
import type { Settings } from '../../settings.ts'
import type { KeptRun, KeptRuns, TrainedTask } from './train.ts'

export interface FolderRunsOptions {
  /** The folder in which each run gets one of its name. */
  path: string
  settings: Settings
  dataset: Dataset
  /** Normalisation, and the names of all classes in the order of the tasks. */
  info: DataInfo
  saveEvery: number
  say(text: string): void
}

/** Keeps each training run of an expansion in a run folder, as `paraformer train` does. */
export class FolderRuns implements KeptRuns {
  readonly saveEvery: number
  readonly #options: FolderRunsOptions
  readonly #sources = sourcesOf()

  constructor(options: FolderRunsOptions) {
    this.saveEvery = options.saveEvery
    this.#options = options
  }

  /** @throws UserError when another process has the folder, or its files are malformed */
  async open(name: string): Promise<KeptRun> {
    const { path, settings, say } = this.#options
    const folder = join(path, name)
    const resumes = existsSync(join(folder, 'checkpoint.safetensors'))
    const held = resumes ? await existingRunFolder(folder, say) : await newRunFolder(folder, settings, say)
    try {
      const close = () => held.lock.release()
      const finished = await finishedIn(held)
      if (finished) return { finished, close, train: async () => true }
      const from = resumes ? await readRun(held.folder.checkpoint) : undefined
      return { from, close, train: (...args) => this.#train(name, held, ...args) }
    } catch (error) {
      await held.lock.release()
      throw error
    }
  }

  async #train(name: string, held: HeldFolder, trainer: Trainer, split: Split, hooks: TrainerHooks): Promise<boolean> {
    const { dataset, info, say } = this.#options
    const times = new StepTimes()
    const { classes } = trainer.parts.model.config
    const data = {
      dataset: { ...dataset, train: split },
      info: { ...info, classNames: info.classNames?.slice(0, classes) },
      split: 'validation' as const,
    }
    const writer = new RunWriter(held, data, {
      shouldStop: () => hooks.shouldStop?.() === true,
      onProgress() {},
      note: say,
    })
    try {
      times.begin()
      const finished = await writer.train(trainer, times, hooks.onStep)
      const sources: Sources = await this.#sources
      const parts = { train: trainer.parts.train, split: data.split }
      await writer.end(trainer, finished ? { ...runRecord(trainer, parts, times, sources), arm: name } : undefined)
      return finished
    } finally {
      await writer.close()
    }
  }
}

/** Reads the results and the model of a run that is finished; undefined for one that is not. */
async function finishedIn({ folder }: HeldFolder): Promise<KeptRun['finished']> {
  const record = await readJsonFile(RUN_RECORD, folder.record)
  if (!record) return undefined
  const { optimizerSteps, images, wallSeconds: seconds, trainingFlops, final } = record
  if (!final.validation) throw new UserError(`${folder.record}: lacks final.validation; remove the folder to train anew`)
  const flops = trainingFlops ?? 0
  const trained: TrainedTask = { optimizerSteps, images, seconds, flops, validation: final.validation.accuracy }
  return { trained, parameters: (await readCheckpoint(folder.model)).parameters }
}
