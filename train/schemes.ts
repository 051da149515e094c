import { checkFunction, checkNumber, checkWhole, refusal } from '../engine/base/checks.ts'
import { ArgumentError } from '../engine/base/errors.ts'
import { checkOptions } from '../engine/base/options.ts'
import { autocast, type CaptureStatistics, capture, concat, crossEntropy, scope, type Tensor, tensor } from '../engine/index.ts'
import { checkTensor } from '../engine/tensor/arguments.ts'
import { MODES, type Mode, type Model, Module, ParaFormer } from '../model/index.ts'
import { AdamW } from './optim/adamW.ts'

export const SCHEME_NAMES = ['joint', 'paper', 'prefixSum'] as const
export type SchemeName = (typeof SCHEME_NAMES)[number]

/** A part of a mini-batch on the device. */
export interface MicroBatch {
  /** [B, C, H, W] */
  images: Tensor
  /** int32 [B] */
  labels: Tensor
  /** Share of the mini-batch's images. */
  share: number
  /** Outputs of branches that ran on their devices (see `ForwardOptions`). */
  outputs?: Tensor
}

/** The goal of an optimizer step. */
export interface Objective {
  /** Returns the scalar to differentiate, and the losses ([1] or [m]) and logits ([1 or m, B, classes]) to report. */
  loss(model: Model, batch: MicroBatch): { objective: Tensor; losses: Tensor; logits: Tensor }
  /** Whether the step clips the gradient by its global norm. */
  clip: boolean
  /** Number k of the prefix that it runs. */
  branches: number
  /** Whether it reads the output of each branch, not only their sum. */
  eachBranch: boolean
  /** The prefix of the first reported loss; the others are of the prefixes after it. */
  firstPrefix: number
}

/** A way to train the branches. */
export interface Scheme {
  name: SchemeName
  /** Passes over the data in an epoch, with the optimizer steps on every mini-batch of each. */
  passes: readonly (readonly Objective[])[]
}

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

/**
 * Makes a scheme.
 * - `joint`: one step on the loss of the full sum.
 * - `prefixSum`: one step on the weighted sum of all prefix losses, from one pass over the branches.
 * - `paper`: pass A, for k = 1..m one clipped step on the loss of prefix k; pass B, one unclipped step on the full sum.
 * @param branches number of branches m
 * @param options.weights weights of the prefix losses, default all 1 (`prefixSum` only)
 * @param options.mode the mode in which the branches run, default `serial`
 * @throws ArgumentError for an unknown scheme, mode or option, a bad number of branches, and weights that are not a finite number of at
 *   least 0 for each branch, or are all 0
 */
export function makeScheme(
  name: SchemeName,
  branches: number,
  options: { weights?: readonly number[]; mode?: Mode } = {},
): Scheme {
  if (!SCHEME_NAMES.includes(name)) throw refusal('makeScheme', name, `one of ${SCHEME_NAMES.join(', ')}`, 'scheme')
  checkWhole('makeScheme', branches, 'branches', 1, 2 ** 31 - 1)
  checkOptions('makeScheme', options, { weights: true, mode: true })
  const { weights = Array(branches).fill(1), mode = 'serial' } = options
  if (!MODES.includes(mode)) throw refusal('makeScheme', mode, `one of ${MODES.join(', ')}`, 'mode')
  const isWeight = (weight: number) => weight >= 0 && Number.isFinite(weight)
  const fits = Array.isArray(weights) && weights.length === branches && weights.every(isWeight)
  if (!fits || !weights.some((weight) => weight > 0)) {
    throw refusal('makeScheme', weights, `${branches} finite numbers of at least 0, not all 0`, 'weights')
  }
  if (name === 'joint') return { name, passes: [[prefixLoss(branches, true, mode)]] }
  if (name === 'prefixSum') return { name, passes: [[prefixSumLoss(weights, mode)]] }
  const passA = Array.from({ length: branches }, (_, i) => prefixLoss(i + 1, true, mode))
  return { name, passes: [passA, [prefixLoss(branches, false, mode)]] }
}

function prefixLoss(k: number, clip: boolean, mode: Mode): Objective {
  return {
    clip,
    branches: k,
    eachBranch: false,
    firstPrefix: k,
    loss(model, { images, labels, outputs }) {
      const logits = model.forward(images, { branches: k, mode, outputs }) // [B, classes]
      const loss = crossEntropy(logits, labels)
      return { objective: loss, losses: loss.detach().reshape([1]), logits: logits.detach().reshape([1, ...logits.shape]) }
    },
  }
}

function prefixSumLoss(weights: readonly number[], mode: Mode): Objective {
  return {
    clip: true,
    branches: weights.length,
    eachBranch: true,
    firstPrefix: 1,
    loss(model, { images, labels, outputs }) {
      if (!(model instanceof ParaFormer)) throw new ArgumentError('prefixSum: got a vit, takes a model of branches')
      const logits = model.forwardPrefixes(images, { mode, outputs }) // [m, B, classes]
      const [m, B] = logits.shape as [number, number]
      const every = labels.reshape([1, B]).broadcastTo([m, B])
      const losses = crossEntropy(logits, every, { reduction: 'none' }).mean(1) // [m]
      const objective = losses.mul(tensor([...weights], { device: images.device })).sum()
      return { objective, losses: losses.detach(), logits: logits.detach() }
    },
  }
}

/**
 * Takes one optimizer step on the micro-batches of a mini-batch, whose gradients are accumulated. The loss is multiplied by the
 * optimizer's loss scale.
 * @param maxNorm global norm to which an objective that clips limits the gradient
 * @throws ArgumentError for arguments of a wrong kind, and batches that are no list of images and labels
 */
export function optimizerStep(
  model: Model,
  optimizer: AdamW,
  objective: Objective,
  batches: readonly MicroBatch[],
  lr: number,
  maxNorm: number,
): StepResult {
  checkParts('optimizerStep', model, optimizer, objective, maxNorm)
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
          const { objective, losses, logits } = loss(model, batch)
          const shared = batch.share === 1 ? objective : objective.mul(batch.share)
          shared.backward(optimizer.lossScale.value)
          return { losses: batch.share === 1 ? losses : losses.mul(batch.share), predicted: logits.argmax(2) }
        })
        total = total ? total.add(part.losses) : part.losses
        predicted.push(part.predicted)
      }
    })
    const norm = optimizer.step(lr, clip ? maxNorm : Number.POSITIVE_INFINITY)
    optimizer.zeroGrad()
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
function checkParts(op: string, model: unknown, optimizer: unknown, objective: Objective | undefined, maxNorm: unknown): void {
  if (!(model instanceof Module)) throw refusal(op, model, 'a model', 'model')
  if (!(optimizer instanceof AdamW)) throw refusal(op, optimizer, 'an AdamW', 'optimizer')
  checkFunction(op, objective?.loss, 'the loss of the objective')
  checkNumber(op, maxNorm, 'maxNorm')
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
 * @throws ArgumentError for arguments of a wrong kind; from a call for batches that are no list of images and labels
 */
export function captureStep(model: Model, optimizer: AdamW, objective: Objective, maxNorm: number): CapturedStep {
  checkParts('captureStep', model, optimizer, objective, maxNorm)
  const step = capture((...tensors: Tensor[]): StepResult => {
    const total = tensors.reduce((sum, { shape }, i) => (i % 2 === 1 ? sum + shape[0]! : sum), 0)
    const batches = Array.from({ length: tensors.length / 2 }, (_, i): MicroBatch => {
      const [images, labels] = [tensors[2 * i]!, tensors[2 * i + 1]!]
      return { images, labels, share: labels.size / total }
    })
    return optimizerStep(model, optimizer, objective, batches, optimizer.lr, maxNorm)
  })
  const call = (batches: readonly MicroBatch[], lr: number): StepResult => {
    checkBatches('captureStep', batches)
    checkNumber('captureStep', lr, 'lr')
    optimizer.lr = lr
    return step(...batches.flatMap(({ images, labels }) => [images, labels]))
  }
  return Object.defineProperties(call, {
    dispose: { value: step.dispose },
    statistics: { get: () => step.statistics },
  }) as CapturedStep
}
