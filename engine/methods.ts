// Makes ops methods of Tensor. Only this module knows both, so that ops can import Tensor without a circle.

import { backward } from './autograd/backward.ts'
import { cast } from './autograd/cast.ts'
import { gelu, leakyRelu, silu, softplus } from './ops/activation.ts'
import * as algebraic from './ops/algebraic.ts'
import { clamp } from './ops/clamp.ts'
import { clone, to } from './ops/clone.ts'
import * as compare from './ops/compare.ts'
import { crossEntropy } from './ops/crossEntropy.ts'
import { cumsum } from './ops/cumsum.ts'
import { dropout } from './ops/dropout.ts'
import * as elementwise from './ops/elementwise.ts'
import * as exponential from './ops/exponential.ts'
import { layerNorm } from './ops/layerNorm.ts'
import { lerp } from './ops/lerp.ts'
import { linear } from './ops/linear.ts'
import { matmul } from './ops/matmul.ts'
import { mlp } from './ops/mlp.ts'
import * as pairwise from './ops/pairwise.ts'
import { pow } from './ops/pow.ts'
import { argmax, max, mean, sum } from './ops/reduce.ts'
import { rmsNorm } from './ops/rmsNorm.ts'
import { broadcastTo, permute, reshape, slice, transpose } from './ops/shape.ts'
import { logSoftmax, softmax } from './ops/softmax.ts'
import * as trigonometric from './ops/trigonometric.ts'
import { Tensor } from './tensor/tensor.ts'

const methods = {
  ...{ ...elementwise, ...algebraic, ...trigonometric, ...exponential, ...pairwise, ...compare, pow, clamp, lerp },
  ...{ gelu, silu, softplus, leakyRelu },
  ...{ sum, mean, max, argmax, softmax, logSoftmax, cumsum },
  ...{ reshape, permute, transpose, slice, broadcastTo },
  ...{ matmul, linear, mlp, layerNorm, rmsNorm, crossEntropy, dropout },
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
