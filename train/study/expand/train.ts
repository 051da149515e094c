import type { Device } from '../../../engine/index.ts'
import { createModel, type Mode, type ParaFormer } from '../../../model/index.ts'
import { BatchLoader, splitIndices } from '../../data/loader.ts'
import type { Split } from '../../data/split.ts'
import { evaluate } from '../../evaluate.ts'
import { type Entries, readState } from '../../modelState.ts'
import { AdamW } from '../../optim/adamW.ts'
import { decays } from '../../optim/groups.ts'
import { LossScale } from '../../optim/lossScale.ts'
import { restoreOptimizer, type SavedRun } from '../../run/checkpoint.ts'
import { evaluationBatch } from '../../run/loaders.ts'
import { Trainer } from '../../run/trainer.ts'
import type { TrainerHooks } from '../../run/trainerParts.ts'
import { type SchemeDefinition, schemeOf } from '../../schemes/index.ts'
import { augmentOf, MAX_COUNT, modelConfigOf, type Settings } from '../../settings.ts'
import type { BaseModel } from './model.ts'
import type { Task, TaskSource } from './splits.ts'
import { ExpansionStoppedError } from './stopped.ts'
import type { Freeze } from './ways.ts'

/** Shape of stored images, and the normalisation that the model takes. */
export type ImageShape = Pick<TaskSource, 'channels' | 'height' | 'width'> & { mean: number[]; std: number[] }

/** The device, settings and data that all training runs of an expansion share. */
export interface ExpansionRun {
  device: Device
  shape: ImageShape
  /** Settings of the optimizer, the schedule, the batches and the augmentation; those of the model are in its config. */
  settings: Settings
  mode: Mode
  /** Keeps the training runs in files, so that an expansion that was ended goes on; default they are in memory alone. */
  runs?: KeptRuns | undefined
  /** Is called between mini-batches and between batches of an evaluation; true ends the expansion with an ExpansionStoppedError. */
  shouldStop?: (() => boolean) | undefined
}

/** The amount of work of a training run, and its accuracies. */
export interface TrainedTask {
  optimizerSteps: number
  /** Images seen, each counted as often as it was seen. */
  images: number
  seconds: number
  /** Counted operations. */
  flops: number
  /** Accuracies of the prefixes on the images that were held out. */
  validation: number[]
}

/** Training runs that outlive the process, by their names. */
export interface KeptRuns {
  /** Mini-batches between saves. */
  saveEvery: number
  /** Opens a run, which is new, was saved, or is finished. */
  open(name: string): Promise<KeptRun>
}

export interface KeptRun {
  /** The results and parameters of a finished run. */
  finished?: { trained: TrainedTask; parameters: Entries } | undefined
  /** The state that an unfinished run goes on from. */
  from?: SavedRun | undefined
  /**
   * Trains to the end, or saves when it should stop.
   * @param split the images of the task
   * @returns whether it came to the end
   */
  train(trainer: Trainer, split: Split, hooks: TrainerHooks): Promise<boolean>
  close(): Promise<void>
}

/** A training run of an expansion. */
export interface TaskTraining {
  /** A name that no other training run of the expansion has. */
  name: string
  scheme: SchemeDefinition
  split: Split
  /** The parameters that keep their values; default none. */
  freeze?: Freeze
  /** Is called after each mini-batch with the share of the run that is done. */
  onStep?: ((share: number) => void) | undefined
}

/** Trains a model on a split, of which it holds out a share for validation. @throws ExpansionStoppedError when it should stop */
export async function trainOn(run: ExpansionRun, model: ParaFormer, training: TaskTraining): Promise<TrainedTask> {
  const kept = await run.runs?.open(training.name)
  try {
    if (kept?.finished) {
      model.loadStateDict(kept.finished.parameters)
      return kept.finished.trained
    }
    return await trainWith(run, model, training, kept)
  } finally {
    await kept?.close()
  }
}

async function trainWith(
  { device, shape, settings, mode, runs, shouldStop }: ExpansionRun,
  model: ParaFormer,
  { scheme, split, freeze = 'none', onStep }: TaskTraining,
  kept: KeptRun | undefined,
): Promise<TrainedTask> {
  const { batchSize, seed, weightDecay, validation } = settings
  model.precision = settings.precision
  model.recomputes = settings.recompute
  model.coalesces = settings.coalesce
  if (kept?.from) model.loadStateDict(kept.from.checkpoint.parameters)
  const parts = splitIndices(split.count, validation, seed)
  const augment = augmentOf(settings)
  const { imageSize, branches } = model.config
  const train = new BatchLoader(shape, split, {
    batchSize,
    seed,
    dropLast: parts.train.length > batchSize,
    indices: parts.train,
    imageSize,
    ...(augment && { augment }),
  })
  const evaluation = evaluationOf(shape, model, split, parts.validation)
  const lossScale = settings.precision === 'mixed' ? { lossScale: new LossScale({ device }) } : {}
  // Rows of the classifier without gradient keep their values where nothing decays them.
  const decaying: typeof decays = (name, parameter) =>
    decays(name, parameter) && !(freeze === 'head' && name.startsWith('head.'))
  const optimizer = new AdamW(model.namedParameters(), { weightDecay, decays: decaying, ...lossScale })
  try {
    if (kept?.from) restoreOptimizer(optimizer, kept.from)
    const trainer = new Trainer({
      ...{ device, model, optimizer, train, evaluation, scheme, mode, saveEvery: runs?.saveEvery ?? MAX_COUNT },
      // The checkpoint and settings.json hold the number of branches of this model.
      settings: { ...settings, branches },
    })
    if (kept?.from) trainer.resume(kept.from.state)
    const hooks: TrainerHooks = {
      shouldStop: shouldStop ?? (() => false),
      onStep: ({ position }) => onStep?.(position.step / trainer.totalSteps),
    }
    const finished = kept ? await kept.train(trainer, split, hooks) : await trainer.run(hooks)
    if (!finished) throw new ExpansionStoppedError('the expansion was asked to stop')
    return trainedBy(trainer)
  } finally {
    optimizer.dispose()
    await Promise.all([train.close(), evaluation.close()])
  }
}

function trainedBy({ position, elapsed, flops, history, parts }: Trainer): TrainedTask {
  const images = position.step * Math.min(parts.settings.batchSize, parts.train.count)
  const validation = history.at(-1)!.accuracies
  return { optimizerSteps: position.updates, images, seconds: elapsed, flops: flops.total ?? 0, validation }
}

/**
 * Trains the base of an expansion: a model of the settings on the first task.
 * @param onStep is called after each mini-batch with the share of the run that is done
 */
export async function trainBase(
  run: ExpansionRun,
  first: Task,
  onStep?: (share: number) => void,
): Promise<{ base: BaseModel; trained: TrainedTask }> {
  const { device, shape, settings } = run
  device.random.seed = settings.seed
  const model = createModel(modelConfigOf(settings, { ...shape, classes: first.classes })) as ParaFormer
  try {
    const training = { name: 'base', scheme: schemeOf(settings.scheme), split: first.train, onStep }
    const trained = await trainOn(run, model, training)
    const { parameters } = await readState({ model })
    return { base: { config: model.config, parameters }, trained }
  } finally {
    model.dispose()
  }
}

/**
 * Returns the accuracies of the prefixes of a model on a split.
 * @param onBatch is called after each batch
 * @throws ExpansionStoppedError when it should stop
 */
export async function accuraciesOn(
  { shape, mode, shouldStop }: ExpansionRun,
  model: ParaFormer,
  split: Split,
  onBatch?: () => void,
): Promise<number[]> {
  const all = Int32Array.from({ length: split.count }, (_, i) => i)
  const loader = evaluationOf(shape, model, split, all)
  const step = () => {
    if (shouldStop?.()) throw new ExpansionStoppedError('the expansion was asked to stop')
    onBatch?.()
  }
  try {
    return (await evaluate(model, loader, step, mode)).accuracies
  } finally {
    await loader.close()
  }
}

function evaluationOf(shape: ImageShape, { config }: ParaFormer, split: Split, indices: Int32Array): BatchLoader {
  const { channels, imageSize } = config
  const batchSize = evaluationBatch(indices.length, channels, imageSize)
  return new BatchLoader(shape, split, { batchSize, shuffle: false, indices, imageSize, prefetch: 0 })
}
