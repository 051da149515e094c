import { refusal } from '../engine/base/checks.ts'
import { checkOptions } from '../engine/base/options.ts'
import { batchNorm, groupNorm, ones, type Tensor, zeros } from '../engine/index.ts'
import { checkEps } from '../engine/ops/normRows.ts'
import { checkSizes } from './layers.ts'
import { buffer, Module, type Parameter, parameter } from './module.ts'

/**
 * Batch normalization of channels. After `train()` it takes mean and variance of the mini-batch and moves the running ones towards them, the
 * buffers `runningMean` and `runningVariance`; after `eval()`, and before, it takes the running ones.
 */
export class BatchNorm2d extends Module {
  weight: Parameter
  bias: Parameter
  readonly runningMean: Tensor
  readonly runningVariance: Tensor
  readonly eps: number
  /** How far the running statistics move, from 0 to 1. */
  readonly momentum: number

  /** @throws ArgumentError for sizes and options out of range */
  constructor(channels: number, options: { eps?: number; momentum?: number } = {}) {
    super()
    checkSizes('BatchNorm2d', { channels })
    checkOptions('BatchNorm2d', options, { eps: true, momentum: true })
    const { momentum = 0.1, eps = 1e-5 } = options
    if (!(momentum >= 0 && momentum <= 1)) throw refusal('BatchNorm2d', momentum, 'a number from 0 to 1', 'momentum')
    checkEps('BatchNorm2d', eps)
    this.eps = eps
    this.momentum = momentum
    this.weight = parameter(() => ones([channels]))
    this.bias = parameter(() => zeros([channels]))
    this.runningMean = buffer(() => zeros([channels]))
    this.runningVariance = buffer(() => ones([channels]))
  }

  /** [B, C, H, W] -> [B, C, H, W] */
  forward(x: Tensor): Tensor {
    const { weight, bias, runningMean, runningVariance, training, momentum, eps } = this
    return batchNorm(x, weight, bias, { runningMean, runningVariance, training, momentum, eps })
  }
}

/** Normalizes the channels of each group of each image together, then scales and shifts every channel. */
export class GroupNorm extends Module {
  weight: Parameter
  bias: Parameter
  readonly groups: number
  readonly eps: number

  /** @throws ArgumentError for sizes and options out of range, and groups that do not divide the channels */
  constructor(groups: number, channels: number, eps = 1e-5) {
    super()
    checkSizes('GroupNorm', { groups, channels })
    if (channels % groups !== 0) throw refusal('GroupNorm', groups, `a divisor of ${channels} channels`, 'groups')
    checkEps('GroupNorm', eps)
    this.eps = eps
    this.groups = groups
    this.weight = parameter(() => ones([channels]))
    this.bias = parameter(() => zeros([channels]))
  }

  /** [B, C, ...] -> [B, C, ...] */
  forward(x: Tensor): Tensor {
    return groupNorm(x, this.groups, this.weight, this.bias, this.eps)
  }
}
