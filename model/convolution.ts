import { checkBoolean, refusal } from '../engine/base/checks.ts'
import { checkOptions, type OptionNames } from '../engine/base/options.ts'
import {
  avgPool2d,
  type Conv2dOptions,
  conv2d,
  maxPool2d,
  type PairOption,
  type PoolOptions,
  type Tensor,
} from '../engine/index.ts'
import { checkPair } from '../engine/ops/pairs.ts'
import { checkSizes, uniform } from './layers.ts'
import { Module, type Parameter } from './module.ts'

export interface Conv2dLayerOptions extends Conv2dOptions {
  /** Whether there is a bias; default true. */
  bias?: boolean
}

const OPTIONS: OptionNames<Conv2dLayerOptions> = { bias: true, stride: true, padding: true, dilation: true, groups: true }

/**
 * A convolution, weight [outputs, inputs / groups, rows, columns]. It starts as PyTorch's: weight and bias are uniform in ±1 / sqrt(n) with
 * n = inputs / groups * rows * columns.
 */
export class Conv2d extends Module {
  weight: Parameter
  bias: Parameter | undefined
  readonly options: Conv2dOptions

  /** @param size rows and columns of the kernel, or a number for both @throws ArgumentError for sizes and options out of range */
  constructor(inputs: number, outputs: number, size: PairOption, options: Conv2dLayerOptions = {}) {
    super()
    checkSizes('Conv2d', { inputs, outputs })
    const [rows, columns] = checkPair('Conv2d', size, 'size')
    checkOptions('Conv2d', options, OPTIONS)
    const { bias = true, groups = 1, ...rest } = options
    checkBoolean('Conv2d', bias, 'bias')
    checkSizes('Conv2d', { groups })
    if (inputs % groups !== 0 || outputs % groups !== 0)
      throw refusal('Conv2d', groups, `a divisor of ${inputs} inputs and ${outputs} outputs`, 'groups')
    for (const [name, value] of Object.entries(rest)) checkPair('Conv2d', value, name, name === 'padding' ? 0 : 1)
    this.options = { ...rest, groups }
    const bound = 1 / Math.sqrt((inputs / groups) * rows * columns)
    this.weight = uniform([outputs, inputs / groups, rows, columns], bound)
    this.bias = bias ? uniform([outputs], bound) : undefined
  }

  /** [B, inputs, H, W] -> [B, outputs, …], see `conv2d` */
  forward(x: Tensor): Tensor {
    return conv2d(x, this.weight, this.bias, this.options)
  }
}

/** The pooling layers share these fields: the size of the windows, and how they lie. */
abstract class Pool2d extends Module {
  readonly size: PairOption
  readonly options: PoolOptions

  constructor(layer: string, size: PairOption, options: PoolOptions) {
    super()
    checkPair(layer, size, 'size')
    checkOptions(layer, options, { stride: true, padding: true })
    for (const [name, value] of Object.entries(options)) checkPair(layer, value, name, name === 'padding' ? 0 : 1)
    this.size = size
    this.options = options
  }
}

/** The largest element of each window. */
export class MaxPool2d extends Pool2d {
  /** @param size rows and columns of a window, or a number for both @throws ArgumentError for sizes and options out of range */
  constructor(size: PairOption, options: PoolOptions = {}) {
    super('MaxPool2d', size, options)
  }

  /** [B, C, H, W] -> [B, C, …], see `maxPool2d` */
  forward(x: Tensor): Tensor {
    return maxPool2d(x, this.size, this.options)
  }
}

/** The average of each window. */
export class AvgPool2d extends Pool2d {
  /** @param size rows and columns of a window, or a number for both @throws ArgumentError for sizes and options out of range */
  constructor(size: PairOption, options: PoolOptions = {}) {
    super('AvgPool2d', size, options)
  }

  /** [B, C, H, W] -> [B, C, …], see `avgPool2d` */
  forward(x: Tensor): Tensor {
    return avgPool2d(x, this.size, this.options)
  }
}
