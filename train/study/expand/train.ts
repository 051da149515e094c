import type { Device } from '../../../engine/index.ts'
import { createModel, type Mode, type ParaFormer } from '../../../model/index.ts'
import { BatchLoader, splitIndices } from '../../data/loader.ts'
import type { Split } from '../../data/split.ts'
import { evaluate } from '../../evaluate.ts'
import { readState } from '../../modelState.ts'
import { AdamW } from '../../optim/adamW.ts'
import { LossScale } from '../../optim/lossScale.ts'
import { evaluationBatch } from '../../run/data.ts'
import { Trainer } from '../../run/trainer.ts'
import { type SchemeDefinition, schemeOf } from '../../schemes/index.ts'
import { augmentOf, MAX_COUNT, modelConfigOf, type Settings } from '../../settings.ts'
import type { BaseModel } from './model.ts'
import type { Task, TaskSource } from './splits.ts'

/** Shape of stored images, and the normalisation that the model takes. */
export type ImageShape = Pick<TaskSource, 'channels' | 'height' | 'width'> & { mean: number[]; std: number[] }

/** The device, settings and data that all training runs of an expansion share. */
export interface ExpansionRun {
  device: Device
  shape: ImageShape
  /** Settings of the optimizer, the schedule, the batches and the augmentation; those of the model are in its config. */
  settings: Settings
  mode: Mode
}

/** The amount of work of a training run, and its accuracies. */
export interface TrainedTask {
  optimizerSteps: number
  /** Images seen, each as often as it was. */
  images: number
  seconds: number
  /** Counted operations. */
  flops: number
  /** Accuracies of the prefixes on the images that were held out. */
  validation: number[]
}

/**
 * Trains a model on a split, of which it holds out a share for validation.
 * @param onStep is called after each mini-batch with the share of the run that is done
 */
export async function trainOn(
  { device, shape, settings, mode }: ExpansionRun,
  model: ParaFormer,
  scheme: SchemeDefinition,
  split: Split,
  onStep?: (share: number) => void,
): Promise<TrainedTask> {
  const { batchSize, seed, weightDecay, validation } = settings
  model.precision = settings.precision
  model.recomputes = settings.recompute
  model.coalesces = settings.coalesce
  const parts = splitIndices(split.count, validation, seed)
  const augment = augmentOf(settings)
  const { imageSize } = model.config
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
  const optimizer = new AdamW(model.namedParameters(), { weightDecay, ...lossScale })
  try {
    const parts = { device, model, optimizer, train, evaluation, settings, scheme, mode, saveEvery: MAX_COUNT }
    const trainer = new Trainer(parts)
    let images = 0
    await trainer.run({
      onStep(report) {
        images += report.images
        onStep?.(report.position.step / trainer.totalSteps)
      },
    })
    const { position, seconds, history, flops } = trainer
    const validation = history.at(-1)!.accuracies
    return { optimizerSteps: position.updates, images, seconds, flops: flops.total!, validation }
  } finally {
    optimizer.dispose()
    await Promise.all([train.close(), evaluation.close()])
  }
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
    const trained = await trainOn(run, model, schemeOf(settings.scheme), first.train, onStep)
    const { parameters } = await readState({ model })
    return { base: { config: model.config, parameters }, trained }
  } finally {
    model.dispose()
  }
}

/** Returns the accuracies of the prefixes of a model on a split. @param onBatch is called after each batch */
export async function accuraciesOn(
  { shape, mode }: ExpansionRun,
  model: ParaFormer,
  split: Split,
  onBatch?: () => void,
): Promise<number[]> {
  const all = Int32Array.from({ length: split.count }, (_, i) => i)
  const loader = evaluationOf(shape, model, split, all)
  try {
    return (await evaluate(model, loader, onBatch, mode)).accuracies
  } finally {
    await loader.close()
  }
}

function evaluationOf(shape: ImageShape, { config }: ParaFormer, split: Split, indices: Int32Array): BatchLoader {
  const { channels, imageSize } = config
  const batchSize = evaluationBatch(indices.length, channels, imageSize)
  return new BatchLoader(shape, split, { batchSize, shuffle: false, indices, imageSize, prefetch: 0 })
}
