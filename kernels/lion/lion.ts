import { ceilDiv, grid1d, type KernelSpec, reads, scalars, writes } from '../spec.ts'
import source from './lion.wgsl'
import interleaved from './lionInterleaved.wgsl'

/** A step over an arena of `blocks` times 64 elements. */
export interface Lion {
  blocks: number
  beta1: number
  beta2: number
  /** 1 - beta1 and 1 - beta2, computed in float64. */
  complement1: number
  complement2: number
}

const VEC4S_PER_THREAD = 4

/**
 * One step of Lion (2302.06675, algorithm 2) over all parameters in one dispatch. With g the gradient times its factor,
 * `p *= 1 - decay; p -= lr * sign(b1 m + (1 - b1) g); m = b2 m + (1 - b2) g`. `blockSlot` [blocks] maps each block to its slot. `slots`
 * [slots, 4] holds lr, a number that is not read, decay = lr * weightDecay, and the factor of the gradient. A slot whose factor is negative
 * stays as it is.
 */
export const lion: KernelSpec<Lion> = {
  name: 'lion',
  bindings: [
    ...writes('f32', 'values'),
    ...reads('f32', 'gradients'),
    ...writes('f32', 'momentumBuffer'),
    ...reads('i32', 'blockSlot'),
    ...reads('f32', 'slots'),
  ],
  params: [...scalars('u32', 'blocks'), ...scalars('f32', 'beta1', 'beta2', 'complement1', 'complement2')],
  variants: [
    { name: 'direct', source, grid: ({ blocks }) => grid1d(ceilDiv(blocks, 64)) },
    {
      name: 'interleaved',
      source: interleaved,
      constants: () => ({ VEC4S_PER_THREAD }),
      grid: ({ blocks }) => grid1d(ceilDiv(blocks * 16, 64 * VEC4S_PER_THREAD)),
    },
  ],
  choose: (device) => (device.software ? 'direct' : 'interleaved'),
  flops: ({ blocks }) => 64 * 11 * blocks,
  bytes: ({ blocks }) => 64 * 4 * 5 * blocks,
}
