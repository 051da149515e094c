import { checkFunction, checkNumber, refusal } from '../../engine/base/checks.ts'
import { autocast, type CaptureStatistics, capture, concat, scope, type Tensor } from '../../engine/index.ts'
import { checkTensor } from '../../engine/tensor/arguments.ts'
import { type Model, Module } from '../../model/index.ts'
import { Ema } from '../optim/ema.ts'
import { Optimizer } from '../optim/optimizer.ts'
import type { MicroBatch, Objective } from './scheme.ts'

/** The losses and gradient norm of one optimizer step, still on the device. */
export interface StepResult {
  /** [1] or [m], mean over the batch, before the step. */
  losses: Tensor
  /** Predicted classes, int32 [1 or m, B], before the step. */
  predicted: Tensor
  /** Global norm of the gradient, [1], before clipping. */
  norm: Tensor
  firstPrefix: number
}

/** Makes the images of a micro-batch of what was copied to the device for them. */
export type ImagesOf = (input: Tensor) => Tensor

const identity: ImagesOf = (input) => input

/**
 * Takes one optimizer step on the micro-batches of a mini-batch, whose gradients are accumulated. The loss is multiplied by the
 * optimizer's loss scale.
 * @param maxNorm global norm to which an objective that clips limits the gradient
 * @param ema averages that are updated after the step
 * @param imagesOf makes the images [B, C, H, W] of what the batches hold; default these are images
 * @throws ArgumentError for arguments of a wrong kind, and batches that are no list of images and labels
 */
export function optimizerStep(
  model: Model,
  optimizer: Optimizer,
  objective: Objective,
  batches: readonly MicroBatch[],
  lr: number,
  maxNorm: number,
  ema?: Ema,
  imagesOf: ImagesOf = identity,
): StepResult {
  checkParts('optimizerStep', model, optimizer, objective, maxNorm, ema)
  checkFunction('optimizerStep', imagesOf, 'imagesOf')
  checkBatches('optimizerStep', batches)
  checkNumber('optimizerStep', lr, 'lr')
  const { loss, clip, firstPrefix } = objective
  return scope(() => {
    let total: Tensor | undefined
    const predicted: Tensor[] = []
    // In mixed precision all micro-batches share one float16 copy of the parameters.
    autocast('float32', () => {
      for (const batch of batches) {
        const part = scope(() => {
          const { objective, losses, logits } = loss(model, { ...batch, images: imagesOf(batch.images) })
          const shared = batch.share === 1 ? objective : objective.mul(batch.share)
          shared.backward(optimizer.lossScale.cotangent)
          return { losses: batch.share === 1 ? losses : losses.mul(batch.share), predicted: logits.argmax(2) }
        })
        total = total ? total.add(part.losses) : part.losses
        predicted.push(part.predicted)
      }
    })
    const norm = optimizer.step(lr, clip ? maxNorm : Number.POSITIVE_INFINITY)
    optimizer.zeroGrad()
    ema?.update()
    return { losses: total!, predicted: predicted.length > 1 ? concat(predicted, 1) : predicted[0]!, norm, firstPrefix }
  })
}

/** `optimizerStep` captured at its first call and replayed after it, with the same bits. */
export interface CapturedStep {
  /** Takes the step. The results of the step before are overwritten and must be read first. */
  (batches: readonly MicroBatch[], lr: number): StepResult
  readonly statistics: readonly CaptureStatistics[]
  dispose(): void
}

/** @throws ArgumentError for arguments of a wrong kind */
function checkParts(
  op: string,
  model: unknown,
  optimizer: unknown,
  objective: Objective | undefined,
  maxNorm: unknown,
  ema: unknown,
): void {
  if (!(model instanceof Module)) throw refusal(op, model, 'a model', 'model')
  if (!(optimizer instanceof Optimizer)) throw refusal(op, optimizer, 'an optimizer', 'optimizer')
  checkFunction(op, objective?.loss, 'the loss of the objective')
  checkNumber(op, maxNorm, 'maxNorm')
  if (ema !== undefined && !(ema instanceof Ema)) throw refusal(op, ema, 'an Ema', 'ema')
}

/** @throws ArgumentError unless `batches` is a non-empty list of images and labels */
function checkBatches(op: string, batches: unknown): void {
  if (!Array.isArray(batches) || batches.length === 0)
    throw refusal(op, batches, 'a list of { images, labels, share }', 'batches')
  for (const [i, batch] of batches.entries()) {
    checkTensor(op, batch?.images, `images of batch ${i}`)
    checkTensor(op, batch.labels, `labels of batch ${i}`)
  }
}

/**
 * Captures the optimizer step on one objective, once for each set of batch shapes.
 * @param imagesOf makes the images [B, C, H, W] of what the batches hold, inside of the captured step; default these are images
 * @throws ArgumentError for arguments of a wrong kind; from a call for batches that are no list of images and labels
 */
export function captureStep(
  model: Model,
  optimizer: Optimizer,
  objective: Objective,
  maxNorm: number,
  ema?: Ema,
  imagesOf: ImagesOf = identity,
): CapturedStep {
  checkParts('captureStep', model, optimizer, objective, maxNorm, ema)
  checkFunction('captureStep', imagesOf, 'imagesOf')
  const step = capture((...tensors: Tensor[]): StepResult => {
    const total = tensors.reduce((sum, { shape }, i) => (i % 2 === 1 ? sum + shape[0]! : sum), 0)
    const batches = Array.from({ length: tensors.length / 2 }, (_, i): MicroBatch => {
      const [images, labels] = [tensors[2 * i]!, tensors[2 * i + 1]!]
      return { images, labels, share: labels.size / total }
    })
    return optimizerStep(model, optimizer, objective, batches, optimizer.lr, maxNorm, ema, imagesOf)
  })
  let { cotangent } = optimizer.lossScale
  const call = (batches: readonly MicroBatch[], lr: number): StepResult => {
    checkBatches('captureStep', batches)
    checkNumber('captureStep', lr, 'lr')
    optimizer.lr = lr
    // A recording without cotangent does not see that the loss scale was changed.
    if (optimizer.lossScale.cotangent !== cotangent) step.dispose()
    cotangent = optimizer.lossScale.cotangent
    return step(...batches.flatMap(({ images, labels }) => [images, labels]))
  }
  return Object.defineProperties(call, {
    dispose: { value: step.dispose },
    statistics: { get: () => step.statistics },
  }) as CapturedStep
}
