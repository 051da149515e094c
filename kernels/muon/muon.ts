import { ceilDiv, grid1d, type KernelSpec, reads, scalars, type Variant, writes } from '../spec.ts'
import momentumSource from './muonMomentum.wgsl'
import momentumInterleaved from './muonMomentumInterleaved.wgsl'
import updateSource from './muonUpdate.wgsl'
import updateInterleaved from './muonUpdateInterleaved.wgsl'

/** A step over an arena of `blocks` times 64 elements. */
export interface MuonMomentum {
  blocks: number
  momentum: number
  /** 1 - momentum, computed in float64. */
  complement: number
  /** 1 for Nesterov's momentum, else 0. */
  nesterov: number
}

export interface MuonUpdate {
  blocks: number
}

const VEC4S_PER_THREAD = 4

function variants(source: string, interleaved: string): Variant<{ blocks: number }>[] {
  return [
    { name: 'direct', source, grid: ({ blocks }) => grid1d(ceilDiv(blocks, 64)) },
    {
      name: 'interleaved',
      source: interleaved,
      constants: () => ({ VEC4S_PER_THREAD }),
      grid: ({ blocks }) => grid1d(ceilDiv(blocks * 16, 64 * VEC4S_PER_THREAD)),
    },
  ]
}

/**
 * The momentum of Muon (Jordan et al., https://kellerjordan.github.io/posts/muon/) over all weights in one dispatch. With g the gradient
 * times its factor, `m = momentum m + (1 - momentum) g`; the direction is m, or `momentum m + (1 - momentum) g` for Nesterov's momentum.
 * `blockSlot` [blocks] maps each block to its row of `slots` [slots, 4], which ends with the factor of the gradient: one below 0 leaves
 * the slot as it is, and its direction is 0. `blockPlace` [blocks] maps it to its block in `directions`; -1 stands for a block of others.
 */
export const muonMomentum: KernelSpec<MuonMomentum> = {
  name: 'muonMomentum',
  bindings: [
    ...reads('f32', 'gradients'),
    ...writes('f32', 'momentumBuffer', 'directions'),
    ...reads('i32', 'blockSlot', 'blockPlace'),
    ...reads('f32', 'slots'),
  ],
  params: [...scalars('u32', 'blocks'), ...scalars('f32', 'momentum', 'complement'), ...scalars('u32', 'nesterov')],
  variants: variants(momentumSource, momentumInterleaved),
  choose: (device) => (device.software ? 'direct' : 'interleaved'),
  shapeClass: ({ blocks }) => [blocks],
  flops: ({ blocks }) => 64 * 7 * blocks,
  bytes: ({ blocks }) => 64 * 4 * 4 * blocks,
}

/**
 * The last part of a step of Muon: `p *= 1 - decay; p -= lr * scale * direction`. `slots` [slots, 4] holds lr, the scale, decay = lr *
 * weightDecay, and the factor of the gradient, which leaves a slot as it is where it is below 0. `blockSlot` and `blockPlace` are as for
 * `muonMomentum`.
 */
export const muonUpdate: KernelSpec<MuonUpdate> = {
  name: 'muonUpdate',
  bindings: [
    ...writes('f32', 'values'),
    ...reads('f32', 'directions'),
    ...reads('i32', 'blockSlot', 'blockPlace'),
    ...reads('f32', 'slots'),
  ],
  params: scalars('u32', 'blocks'),
  variants: variants(updateSource, updateInterleaved),
  choose: (device) => (device.software ? 'direct' : 'interleaved'),
  flops: ({ blocks }) => 64 * 4 * blocks,
  bytes: ({ blocks }) => 64 * 4 * 3 * blocks,
}
