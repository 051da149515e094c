import { checkNoMore } from '../engine/base/checks.ts'
import { dropout, embedding, ones, randn, rmsNorm, type Tensor } from '../engine/index.ts'
import { checkProbability } from '../engine/ops/dropout.ts'
import { checkEps } from '../engine/ops/normRows.ts'
import { checkSizes } from './layers.ts'
import { Module, type Parameter, parameter } from './module.ts'

/** A table of vectors, weight [count, dim], which starts as PyTorch's: standard normal numbers. */
export class Embedding extends Module {
  weight: Parameter

  constructor(count: number, dim: number, ...extra: []) {
    super()
    checkNoMore('Embedding', extra)
    checkSizes('Embedding', { count, dim })
    this.weight = parameter(() => randn([count, dim]))
  }

  /** int32 [...], each in [0, count) -> [..., dim] */
  forward(indices: Tensor): Tensor {
    return embedding(this.weight, indices)
  }
}

/** Divides rows by their root mean square, then scales every column. */
export class RmsNorm extends Module {
  weight: Parameter
  readonly eps: number

  constructor(dim: number, eps = 1e-6, ...extra: []) {
    super()
    checkNoMore('RmsNorm', extra)
    checkSizes('RmsNorm', { dim })
    checkEps('RmsNorm', eps)
    this.eps = eps
    this.weight = parameter(() => ones([dim]))
  }

  /** [..., D] -> [..., D] */
  forward(x: Tensor): Tensor {
    return rmsNorm(x, this.weight, this.eps)
  }
}

/** Dropout with probability p after `train()`; nothing after `eval()`, and before. */
export class Dropout extends Module {
  readonly p: number

  constructor(p = 0.5, ...extra: []) {
    super()
    checkNoMore('Dropout', extra)
    checkProbability('Dropout', p)
    this.p = p
  }

  /** Any shape. */
  forward(x: Tensor): Tensor {
    return this.training ? dropout(x, this.p) : x
  }
}
