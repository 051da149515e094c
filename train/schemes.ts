import { checkFunction, checkNumber, checkWhole, refusal } from '../engine/base/checks.ts'
import { ArgumentError } from '../engine/base/errors.ts'
import { checkOptions } from '../engine/base/options.ts'
import { autocast, type CaptureStatistics, capture, concat, crossEntropy, scope, type Tensor, tensor } from '../engine/index.ts'
import { checkTensor } from '../engine/tensor/arguments.ts'
import { MODES, type Mode, type Model, Module, ParaFormer } from '../model/index.ts'
import { AdamW } from './optim/adamW.ts'

export const SCHEME_NAMES = ['joint', 'paper', 'prefixSum'] as const
export type SchemeName = (typeof SCHEME_NAMES)[number]

/** A mini-batch on the device: images [B, C, H, W], labels int32 [B]; `share` is its part of the whole batch. */
export interface MicroBatch {
  images: Tensor
  labels: Tensor
  share: number
  /** What the branches gave on other devices (see `ForwardOptions`). */
  outputs?: Tensor
}

/** One optimizer step: what to minimize on each micro-batch. */
export interface Objective {
  /** Of one micro-batch: the scalar to differentiate, and the losses ([1] or [m]) and logits ([1 or m, B, classes]) to report. */
  loss(model: Model, batch: MicroBatch): { objective: Tensor; losses: Tensor; logits: Tensor }
  clip: boolean
  /** The branches that it runs: the first so many. */
  branches: number
  /** Whether it looks at each of them, not only at their sum. */
  eachBranch: boolean
  /** The prefix whose loss the first reported number is; later numbers are the prefixes after it. */
  firstPrefix: number
}

/** A way to train the branches: passes over the data an epoch, and the optimizer steps on every mini-batch of a pass. */
export interface Scheme {
  name: SchemeName
  passes: readonly (readonly Objective[])[]
}

/** The losses and gradient norm of one optimizer step, still on the device. */
export interface StepResult {
  /** [1] or [m], mean over the batch, before the step. */
  losses: Tensor
  /** Predicted classes, int32 [1 or m, B], before the step. */
  predicted: Tensor
  /** [1], before clipping. */
  norm: Tensor
  firstPrefix: number
}

/**
 * - `joint`: one step on the loss of the full sum.
 * - `prefixSum`: one step on the weighted sum of all prefix losses, from one pass over the branches.
 * - `paper`: pass A, for k = 1..m one clipped step on the loss of prefix k; pass B, one unclipped step on the full sum
 *   (PAPER.md, Training).
 * @param options.weights of the prefix losses, default all 1 (`prefixSum` only)
 * @param options.mode how the branches run, default `serial`
 * @throws ArgumentError for an unknown scheme, mode or option, a number of branches that is none, and weights that are not one finite number
 *   of at least 0 a branch, with one above 0
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
  const fits = Array.isArray(weights) && weights.length === branches && weights.every((one) => one >= 0 && Number.isFinite(one))
  if (!fits || !weights.some((one) => one > 0)) {
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
 * One optimizer step on a mini-batch given in parts, whose gradients are accumulated. Gradients are those of the loss times the
 * optimizer's loss scale.
 * @param maxNorm for objectives that clip
 * @throws ArgumentError for what is no model, optimizer, objective or number, and batches that are no list of images and labels
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
    // In mixed precision all parts share one copy of the parameters.
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

/** `optimizerStep` recorded at its first call and replayed after it, with the same bits. */
export interface CapturedStep {
  /** The results of the one before are overwritten; read them first. */
  (batches: readonly MicroBatch[], lr: number): StepResult
  readonly statistics: readonly CaptureStatistics[]
  dispose(): void
}

/** @throws ArgumentError for what is no model, optimizer, objective or number */
function checkParts(op: string, model: unknown, optimizer: unknown, objective: Objective | undefined, maxNorm: unknown): void {
  if (!(model instanceof Module)) throw refusal(op, model, 'a model', 'model')
  if (!(optimizer instanceof AdamW)) throw refusal(op, optimizer, 'an AdamW', 'optimizer')
  checkFunction(op, objective?.loss, 'the loss of the objective')
  checkNumber(op, maxNorm, 'maxNorm')
}

/** @throws ArgumentError unless it is a list of images and labels, of which there is at least one */
function checkBatches(op: string, batches: unknown): void {
  if (!Array.isArray(batches) || batches.length === 0)
    throw refusal(op, batches, 'a list of { images, labels, share }', 'batches')
  for (const [i, batch] of batches.entries()) {
    checkTensor(op, batch?.images, `images of batch ${i}`)
    checkTensor(op, batch.labels, `labels of batch ${i}`)
  }
}

/**
 * Captures the optimizer step on one objective: batches of every shape are recorded once.
 * @throws ArgumentError for what is no model, optimizer, objective or number; from a call for batches that are no list of images and labels
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
