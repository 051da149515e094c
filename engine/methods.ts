// Makes ops methods of Tensor. Only this module knows both, so that ops can import Tensor without a circle.

import { backward } from './autograd/backward.ts'
import { cast } from './autograd/cast.ts'
import { gelu, leakyRelu, silu, softplus } from './ops/activation.ts'
import * as algebraic from './ops/algebraic.ts'
import { batchNorm } from './ops/batchNorm.ts'
import { clamp } from './ops/clamp.ts'
import { clone, to } from './ops/clone.ts'
import * as compare from './ops/compare.ts'
import { conv2d } from './ops/conv2d.ts'
import { crossEntropy } from './ops/crossEntropy.ts'
import { cumsum } from './ops/cumsum.ts'
import { dropout } from './ops/dropout.ts'
import * as elementwise from './ops/elementwise.ts'
import * as exponential from './ops/exponential.ts'
import { argmax, argmin, max, min } from './ops/extremum.ts'
import { flip } from './ops/flip.ts'
import { all, any, logsumexp, norm, prod } from './ops/foldOps.ts'
import { gather, indexSelect } from './ops/gather.ts'
import { groupNorm } from './ops/groupNorm.ts'
import { layerNorm } from './ops/layerNorm.ts'
import { lerp } from './ops/lerp.ts'
import { linear } from './ops/linear.ts'
import { bceWithLogits, klDiv, mseLoss } from './ops/losses.ts'
import { maskedFill } from './ops/maskedFill.ts'
import { matmul } from './ops/matmul.ts'
import { mlp } from './ops/mlp.ts'
import { oneHot } from './ops/oneHot.ts'
import * as pairwise from './ops/pairwise.ts'
import { avgPool2d, maxPool2d } from './ops/pool2d.ts'
import { pow } from './ops/pow.ts'
import { bernoulli, multinomial } from './ops/random.ts'
import { mean, sum } from './ops/reduce.ts'
import { rmsNorm } from './ops/rmsNorm.ts'
import { roll } from './ops/roll.ts'
import { cummax, cumprod } from './ops/scan.ts'
import { scatter } from './ops/scatter.ts'
import { scatterAdd } from './ops/scatterAdd.ts'
import { broadcastTo, permute, reshape, transpose } from './ops/shape.ts'
import { slice } from './ops/slice.ts'
import { logSoftmax, softmax } from './ops/softmax.ts'
import { argsort, sort, topk } from './ops/sort.ts'
import { chunk, split } from './ops/split.ts'
import { flatten, squeeze, unsqueeze } from './ops/squeeze.ts'
import { repeat, tile } from './ops/tile.ts'
import { tril, triu } from './ops/triangle.ts'
import * as trigonometric from './ops/trigonometric.ts'
import { std, variance } from './ops/variance.ts'
import { Tensor } from './tensor/tensor.ts'

const methods = {
  ...{ ...elementwise, ...algebraic, ...trigonometric, ...exponential, ...pairwise, ...compare, pow, clamp, lerp },
  ...{ gelu, silu, softplus, leakyRelu },
  ...{ sum, mean, max, argmax, softmax, logSoftmax, cumsum },
  ...{ cumprod, cummax, min, argmin, prod, variance, std, norm, logsumexp, any, all },
  ...{ reshape, permute, transpose, slice, broadcastTo },
  ...{ gather, indexSelect, scatter, scatterAdd, maskedFill, oneHot, triu, tril },
  ...{ sort, argsort, topk },
  ...{ split, chunk, squeeze, unsqueeze, flatten, flip, roll, tile, repeat },
  ...{ matmul, linear, mlp, layerNorm, rmsNorm, crossEntropy, dropout },
  ...{ conv2d, maxPool2d, avgPool2d, batchNorm, groupNorm },
  ...{ bernoulli, multinomial },
  ...{ mseLoss, bceWithLogits, klDiv },
  ...{ cast, backward, clone, to },
}

type Methods = {
  [name in keyof typeof methods]: (typeof methods)[name] extends (self: any, ...rest: infer R) => infer T
    ? (...rest: R) => T
    : never
}

declare module './tensor/tensor.ts' {
  interface Tensor extends Methods {}
}

for (const [name, op] of Object.entries(methods)) {
  Object.defineProperty(Tensor.prototype, name, {
    value(this: Tensor, ...rest: unknown[]) {
      return (op as (...all: unknown[]) => unknown)(this, ...rest)
    },
  })
}
