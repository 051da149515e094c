import { type Capabilities, ceilDiv, grid1d, type KernelSpec, reads, scalars, writes } from '../spec.ts'
import gradNormSource from './gradNorm.wgsl'
import gradNormWorkgroup from './gradNormWorkgroup.wgsl'

/** A gradient arena of `blocks` times 64 elements, in pieces of `chunk` blocks. */
export interface GradNorm {
  blocks: number
  chunk: number
}

/** Whether a device has workgroups of 256, which add up in a tree. */
export function tree(device: Capabilities): boolean {
  return device.maxInvocations >= 256
}

/** The blocks of a piece: there are enough pieces to keep the device busy, and so few that adding them up costs nothing. */
export function gradNormChunk(device: Capabilities, blocks: number): number {
  return Math.max(device.software ? 8 : 32, ceilDiv(blocks, 1024))
}

/**
 * The first pass of the global gradient norm: `partials` [ceil(blocks / chunk)] are the sums of squares of `gradients` [blocks, 64] over
 * the blocks whose slot takes part, as `rules` [slots, 2] says.
 */
export const gradNorm: KernelSpec<GradNorm> = {
  name: 'gradNorm',
  bindings: [
    ...reads('f32', 'gradients'),
    ...reads('i32', 'blockSlot'),
    ...reads('f32', 'rules'),
    ...writes('f32', 'partials'),
  ],
  params: scalars('u32', 'blocks', 'chunk'),
  variants: [
    {
      name: 'direct',
      source: gradNormSource,
      grid: ({ blocks, chunk }) => grid1d(ceilDiv(ceilDiv(blocks, chunk), 32)),
    },
    {
      name: 'workgroup',
      source: gradNormWorkgroup,
      supports: tree,
      grid: ({ blocks, chunk }) => grid1d(ceilDiv(blocks, chunk)),
    },
  ],
  choose: (device) => (!device.software && tree(device) ? 'workgroup' : 'direct'),
  flops: ({ blocks }) => 128 * blocks,
  bytes: ({ blocks }) => 256 * blocks,
}
