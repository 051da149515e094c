import { ceilDiv, grid1d, type KernelSpec, reads, scalars, writes } from '../spec.ts'
import adamWSource from './adamW.wgsl'
import adamWInterleaved from './adamWInterleaved.wgsl'

/** A step over an arena of `blocks` times 64 elements. */
export interface AdamW {
  blocks: number
  beta1: number
  beta2: number
  /** 1 - beta1 and 1 - beta2, computed in float64. */
  complement1: number
  complement2: number
  eps: number
}

const VEC4S_PER_THREAD = 4

/**
 * One step of AdamW (1711.05101) over all parameters in one dispatch, in the form of PyTorch. With g the gradient times its factor,
 * `p *= 1 - decay; m = b1 m + (1 - b1) g; v = b2 v + (1 - b2) g^2; p -= stepSize * m / (sqrt(v) * invSqrtBc2 + eps)`.
 * `blockSlot` [blocks] maps each block to its slot. `slots` [slots, 4] holds stepSize = lr / (1 - b1^t), invSqrtBc2 =
 * 1 / sqrt(1 - b2^t), decay = lr * weightDecay, and the factor of the gradient. A slot whose factor is negative stays as it is.
 */
export const adamW: KernelSpec<AdamW> = {
  name: 'adamW',
  bindings: [
    ...writes('f32', 'values'),
    ...reads('f32', 'gradients'),
    ...writes('f32', 'firstMoments', 'secondMoments'),
    ...reads('i32', 'blockSlot'),
    ...reads('f32', 'slots'),
  ],
  params: [...scalars('u32', 'blocks'), ...scalars('f32', 'beta1', 'beta2', 'complement1', 'complement2', 'eps')],
  variants: [
    { name: 'direct', source: adamWSource, grid: ({ blocks }) => grid1d(ceilDiv(blocks, 64)) },
    {
      name: 'interleaved',
      source: adamWInterleaved,
      constants: () => ({ VEC4S_PER_THREAD }),
      grid: ({ blocks }) => grid1d(ceilDiv(blocks * 16, 64 * VEC4S_PER_THREAD)),
    },
  ],
  choose: (device) => (device.software ? 'direct' : 'interleaved'),
  flops: ({ blocks }) => 64 * 14 * blocks,
  bytes: ({ blocks }) => 64 * 4 * 7 * blocks,
}
