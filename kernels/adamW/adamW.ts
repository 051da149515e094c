import type { KernelSpec } from '../spec.ts'
import { ceilDiv, grid1d } from '../spec.ts'
import adamWSource from './adamW.wgsl'
import adamWInterleaved from './adamWInterleaved.wgsl'

/** An arena of `blocks` times 64 elements. */
export interface AdamW {
  blocks: number
  beta1: number
  beta2: number
  /** 1 - beta1 and 1 - beta2, taken in float64. */
  complement1: number
  complement2: number
  eps: number
}

const VEC4S_PER_THREAD = 4

/**
 * One step of AdamW over all parameters in one dispatch, the form of PyTorch: with the gradient g times its factor,
 * `p *= 1 - decay; m = b1 m + (1 - b1) g; v = b2 v + (1 - b2) g^2; p -= stepSize * m / (sqrt(v) * invSqrtBc2 + eps)`.
 * `blockSlot` maps each block to its slot; `slots` [slots, 4] holds stepSize = lr / (1 - b1^t), invSqrtBc2 = 1 / sqrt(1 - b2^t),
 * decay = lr * weightDecay, and the factor of the gradient; slots whose factor is negative stay as they are.
 */
export const adamW: KernelSpec<AdamW> = {
  name: 'adamW',
  bindings: [
    { name: 'values', access: 'read_write', dtype: 'f32' },
    { name: 'gradients', access: 'read', dtype: 'f32' },
    { name: 'firstMoments', access: 'read_write', dtype: 'f32' },
    { name: 'secondMoments', access: 'read_write', dtype: 'f32' },
    { name: 'blockSlot', access: 'read', dtype: 'i32' },
    { name: 'slots', access: 'read', dtype: 'f32' },
  ],
  params: [
    { name: 'blocks', type: 'u32' },
    { name: 'beta1', type: 'f32' },
    { name: 'beta2', type: 'f32' },
    { name: 'complement1', type: 'f32' },
    { name: 'complement2', type: 'f32' },
    { name: 'eps', type: 'f32' },
  ],
  variants: [
    {
      name: 'direct',
      source: adamWSource,
      grid: ({ blocks }) => grid1d(ceilDiv(blocks, 64)),
    },
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
