import * as kernels from '../../kernels/planeNorm/index.ts'
import { toFloat32 } from '../autograd/autocast.ts'
import { defineOp } from '../autograd/tape.ts'
import { checkNoMore, checkWhole } from '../base/checks.ts'
import { sizeOf } from '../layout/shape.ts'
import { checkTensor, mismatch } from '../tensor/arguments.ts'
import type { Tensor } from '../tensor/tensor.ts'
import { checkEps } from './normRows.ts'
import { differentiableGradients, gradients, normalize, statisticsOf } from './planeNorm.ts'

interface Arguments {
  problem: kernels.PlaneNorm
  groups: number
}

const op = defineOp<[x: Tensor, weight: Tensor, bias: Tensor], Arguments>({
  name: 'groupNorm',
  forward(ctx, [input, weight, bias], { problem }) {
    const x = input.contiguous()
    return normalize(ctx, [x, weight, bias], statisticsOf(x, problem, undefined), problem)
  },
  backward: (ctx, grad, { problem }) => gradients(ctx, grad, problem, false),
  differentiableBackward(ctx, grad, { problem: { planes, channels, n, eps }, groups }) {
    const size = channels / groups
    const shape = [planes / channels, groups, size, n]
    return differentiableGradients(ctx, grad, { shape, dims: [2, 3], channels: [groups, size, 1], eps, fixed: false })
  },
})

/**
 * Group normalization (Wu and He, arXiv 1803.08494), (x - mean) / sqrt(variance + eps) * weight + bias with mean and variance over the
 * channels of each group of each image. With one group it is a layerNorm of whole images, with C groups instance normalization. A group with
 * NaN or an infinity becomes NaN, and so does one whose variance exceeds float32.
 * @param x float32 [B, C, ...]; inside `autocast` float16 too
 * @param groups a divisor of C
 * @param weight float32 [C]
 * @param bias float32 [C]
 * @param eps finite, at least 0; with 0 a group of equal elements gives NaN
 * @returns float32 [B, C, ...]
 * @throws ShapeError for other dtypes or shapes; ArgumentError for another eps, or groups that are no whole number
 */
export function groupNorm(x: Tensor, groups: number, weight: Tensor, bias: Tensor, eps = 1e-5, ...extra: []): Tensor {
  checkTensor('groupNorm', x)
  checkWhole('groupNorm', groups, 'groups')
  checkTensor('groupNorm', weight, 'weight')
  checkTensor('groupNorm', bias, 'bias')
  checkEps('groupNorm', eps)
  checkNoMore('groupNorm', extra)
  const input = toFloat32(x)
  const [batch, channels = 0] = input.shape as [number, number?]
  const fits = (t: Tensor) => t.dtype === 'float32' && t.ndim === 1 && t.shape[0] === channels
  if (input.dtype !== 'float32' || input.ndim < 2 || !fits(weight) || !fits(bias) || channels % groups !== 0) {
    throw mismatch('groupNorm', [input, weight, bias], `float32 [B, C, ...], [C] and [C], C a multiple of ${groups} groups`)
  }
  const n = sizeOf(input.shape.slice(2))
  return op([input, weight, bias], { problem: { ...kernels.groupRows(batch, channels, groups), n, eps, momentum: 0 }, groups })
}
