import { ceilDiv, grid1d, type KernelSpec, reads, scalars, writes } from '../spec.ts'
import source from './sgd.wgsl'
import interleaved from './sgdInterleaved.wgsl'

/** A step over an arena of `blocks` times 64 elements. */
export interface Sgd {
  blocks: number
  /** 0 keeps no momentum; the buffer has one element then. */
  momentum: number
  /** 1 for Nesterov's momentum, else 0. */
  nesterov: number
}

const VEC4S_PER_THREAD = 4

/**
 * One step of SGD over all parameters in one dispatch, in the form of PyTorch. With g the gradient times its factor plus the decay times
 * p, `m = momentum m + y g; p -= lr * m`, for Nesterov's momentum `p -= lr * (g + momentum * m)`. `blockSlot` [blocks] maps each block to
 * its slot. `slots` [slots, 4] holds lr, y = 1 - dampening (1 in the first step), the decay, and the factor of the gradient. A slot whose
 * factor is negative stays as it is.
 */
export const sgd: KernelSpec<Sgd> = {
  name: 'sgd',
  bindings: [
    ...writes('f32', 'values'),
    ...reads('f32', 'gradients'),
    ...writes('f32', 'momentumBuffer'),
    ...reads('i32', 'blockSlot'),
    ...reads('f32', 'slots'),
  ],
  params: [...scalars('u32', 'blocks'), ...scalars('f32', 'momentum'), ...scalars('u32', 'nesterov')],
  variants: [
    {
      name: 'direct',
      source,
      constants: ({ momentum }) => ({ MOMENTUM: momentum !== 0 }),
      grid: ({ blocks }) => grid1d(ceilDiv(blocks, 64)),
    },
    {
      name: 'interleaved',
      source: interleaved,
      constants: ({ momentum }) => ({ VEC4S_PER_THREAD, MOMENTUM: momentum !== 0 }),
      grid: ({ blocks }) => grid1d(ceilDiv(blocks * 16, 64 * VEC4S_PER_THREAD)),
    },
  ],
  choose: (device) => (device.software ? 'direct' : 'interleaved'),
  shapeClass: ({ blocks, momentum }) => [blocks, Number(momentum !== 0)],
  flops: ({ blocks, momentum }) => 64 * (momentum ? 8 : 5) * blocks,
  bytes: ({ blocks, momentum }) => 64 * 4 * (momentum ? 5 : 3) * blocks,
}
