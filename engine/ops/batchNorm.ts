import * as kernels from '../../kernels/planeNorm/index.ts'
import { toFloat32 } from '../autograd/autocast.ts'
import { innermostRecomputation } from '../autograd/recomputation.ts'
import { defineOp } from '../autograd/tape.ts'
import { checkBoolean, checkNoMore, refusal } from '../base/checks.ts'
import { ArgumentError, ShapeError } from '../base/errors.ts'
import { checkOptions, type OptionNames } from '../base/options.ts'
import { bindingAlignment } from '../layout/dtype.ts'
import { format, sizeOf } from '../layout/shape.ts'
import { checkOptionalTensor, checkTensor, mismatch } from '../tensor/arguments.ts'
import type { Tensor } from '../tensor/tensor.ts'
import { checkEps } from './normRows.ts'
import { differentiableGradients, fixedStatistics, gradients, normalize, type Running, statisticsOf } from './planeNorm.ts'

export interface BatchNormOptions {
  /** The running means, float32 [C]. Training moves them, evaluation normalizes by them. */
  runningMean?: Tensor
  /** The running variances, float32 [C]; they come with `runningMean`. */
  runningVariance?: Tensor
  /** Whether to normalize by the statistics of x; by default where there are no running ones. */
  training?: boolean
  /** How much of the statistics of x goes into the running ones, in [0, 1]; default 0.1. */
  momentum?: number
  /** This number is added to the variance: finite, at least 0; default 1e-5. */
  eps?: number
}

const OPTIONS: OptionNames<BatchNormOptions> = {
  runningMean: true,
  runningVariance: true,
  training: true,
  momentum: true,
  eps: true,
}

interface Arguments {
  problem: kernels.PlaneNorm
  training: boolean
  /** They are no inputs, because training changes them. */
  running: Running | undefined
}

const op = defineOp<[x: Tensor, weight: Tensor, bias: Tensor], Arguments>({
  name: 'batchNorm',
  forward(ctx, [input, weight, bias], { problem, training, running }) {
    const x = input.contiguous()
    // A part that runs again for backward has moved the running statistics already.
    const moved = innermostRecomputation.current?.again ? undefined : running
    const statistics = training ? statisticsOf(x, problem, moved) : fixedStatistics(running!, problem)
    return normalize(ctx, [x, weight, bias], statistics, problem)
  },
  backward: (ctx, grad, { problem, training }) => gradients(ctx, grad, problem, !training),
  differentiableBackward(ctx, grad, { problem: { planes, channels, n, eps }, training }) {
    const shape = [planes / channels, channels, n]
    return differentiableGradients(ctx, grad, { shape, dims: [0, 2], channels: [channels, 1], eps, fixed: !training })
  },
})

/**
 * Batch normalization (Ioffe and Szegedy, arXiv 1502.03167), (x - mean) / sqrt(variance + eps) * weight + bias for each channel. In training
 * mean and variance are those of x over all images, and running ones are moved towards them in place, the variance by its estimate without
 * bias, as in PyTorch; in evaluation they are the running ones. A captured step moves them at each replay. A channel with NaN or an infinity
 * becomes NaN in training, and so does one whose variance exceeds float32.
 * @param x float32 [B, C, ...]; inside `autocast` float16 too
 * @param weight float32 [C]
 * @param bias float32 [C]
 * @param options.runningMean float32 [C], contiguous in training
 * @param options.runningVariance float32 [C], contiguous in training
 * @returns float32 [B, C, ...]
 * @throws ShapeError for other dtypes or shapes, and for one element a channel in training; ArgumentError for other options, or evaluation
 *   without running statistics
 */
export function batchNorm(x: Tensor, weight: Tensor, bias: Tensor, options: BatchNormOptions = {}, ...extra: []): Tensor {
  checkTensor('batchNorm', x)
  checkTensor('batchNorm', weight, 'weight')
  checkTensor('batchNorm', bias, 'bias')
  checkOptions('batchNorm', options, OPTIONS)
  checkNoMore('batchNorm', extra)
  const { runningMean, runningVariance, momentum = 0.1, eps = 1e-5 } = options
  checkOptionalTensor('batchNorm', runningMean, 'runningMean')
  checkOptionalTensor('batchNorm', runningVariance, 'runningVariance')
  const training = options.training ?? !runningMean
  checkBoolean('batchNorm', training, 'training')
  checkEps('batchNorm', eps)
  if (!(typeof momentum === 'number' && momentum >= 0 && momentum <= 1))
    throw refusal('batchNorm', momentum, 'a number from 0 to 1', 'momentum')
  if (!runningMean !== !runningVariance) throw new ArgumentError('batchNorm: runningMean and runningVariance come together')
  if (!training && !runningMean) throw new ArgumentError('batchNorm: evaluation takes runningMean and runningVariance')
  const input = toFloat32(x)
  const [batch, channels = 0] = input.shape as [number, number?]
  const vectors = [weight, bias, runningMean, runningVariance]
  const fits = vectors.every((t) => !t || (t.dtype === 'float32' && format(t.shape) === `[${channels}]`))
  if (input.dtype !== 'float32' || input.ndim < 2 || !fits) {
    throw mismatch('batchNorm', [input, ...vectors], 'float32 [B, C, ...] and [C] for all others')
  }
  const n = sizeOf(input.shape.slice(2))
  if (training && batch * n === 1)
    throw new ShapeError(`batchNorm: training takes several elements a channel, got ${format(x.shape)}`)
  const aligned = (t?: Tensor) => !t || (t.isContiguous() && t.offset % bindingAlignment(t.dtype) === 0)
  if (training && !(aligned(runningMean) && aligned(runningVariance)))
    throw new ArgumentError('batchNorm: got running statistics that are views, takes tensors of their own')
  if (training && runningMean && runningMean.storage === runningVariance?.storage)
    throw new ArgumentError('batchNorm: runningMean and runningVariance share their memory, takes tensors of their own')
  const running = runningMean && runningVariance && { mean: runningMean, variance: runningVariance }
  const problem = { ...kernels.batchRows(batch, channels), n, eps, momentum }
  return op([input, weight, bias], { problem, training, running })
}
