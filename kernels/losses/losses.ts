import { countVariant } from '../runs.ts'
import { branchStrides, type KernelSpec, reads, scalars, writes } from '../spec.ts'
import lossSource from './loss.wgsl'
import backwardSource from './lossBackward.wgsl'

/** The losses by the numbers that the kernels have for them. */
export const LOSSES = {
  /** (x - target)^2 */
  mse: 0,
  /** The cross-entropy of sigmoid(x) with the probability `target`. */
  bceWithLogits: 1,
  /** target * (log(target) - x), 0 at a target of 0, where x is a logarithm of a probability. */
  klDiv: 2,
  /** The same for the logarithms of targets. */
  klDivLog: 3,
} as const

export type LossKind = keyof typeof LOSSES

export interface Loss {
  kind: LossKind
  count: number
}

/** The gradient of term i is `scale` times element `i * gradientStride` of `gradient`. A stride of 0 takes one element for all. */
export interface LossBackward extends Loss {
  scale: number
  gradientStride: 0 | 1
  /** Whether the gradient of the targets is wanted in place of that of x. */
  targets: boolean
}

const optional = [...scalars('f32', 'scale'), ...scalars('u32', 'gradientStride')].map((param) => ({
  ...param,
  optional: true,
}))
const params = [...scalars('u32', 'count'), ...optional]

/** terms [count] = the losses of x [count] and targets [count], element by element. */
export const loss: KernelSpec<Loss> = {
  name: 'loss',
  bindings: [...reads('f32', 'x', 'targets'), ...writes('f32', 'terms')],
  params: [branchStrides(3), ...params],
  variants: [countVariant(lossSource, ({ kind }) => ({ KIND: LOSSES[kind] }))],
  flops: ({ count }) => 4 * count,
  bytes: ({ count }) => 12 * count,
}

/** output [count] = the gradient of x or of targets. */
export const lossBackward: KernelSpec<LossBackward> = {
  name: 'lossBackward',
  bindings: [...reads('f32', 'x', 'targets', 'gradient'), ...writes('f32', 'output')],
  params: [branchStrides(4), ...params],
  variants: [
    countVariant(backwardSource, ({ kind, targets, gradientStride }) => ({
      KIND: LOSSES[kind],
      TARGETS: targets,
      ...(gradientStride === 0 && { GRADIENT_VEC: 1, Gradient: 'f32' }),
    })),
  ],
  flops: ({ count }) => 4 * count,
  bytes: ({ count }) => 12 * count,
}
