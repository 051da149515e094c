import { ceilDiv, grid1d, type KernelSpec, reads, scalars, writes } from '../spec.ts'
import source from './ema.wgsl'
import interleaved from './emaInterleaved.wgsl'

/** A step over an arena of `blocks` times 64 elements. */
export interface Ema {
  blocks: number
  /** 1 - decay, computed in float64. */
  part: number
}

const VEC4S_PER_THREAD = 4

/** Exponential moving averages of all parameters in one dispatch: `averages += part * (values - averages)`, both [blocks, 64]. */
export const ema: KernelSpec<Ema> = {
  name: 'ema',
  bindings: [...writes('f32', 'averages'), ...reads('f32', 'values')],
  params: [...scalars('u32', 'blocks'), ...scalars('f32', 'part')],
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
  flops: ({ blocks }) => 64 * 3 * blocks,
  bytes: ({ blocks }) => 64 * 4 * 3 * blocks,
}
