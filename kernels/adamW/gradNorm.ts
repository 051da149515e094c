import type { Capabilities, KernelSpec } from '../spec.ts'
import { ceilDiv, grid1d } from '../spec.ts'
import gradNormSource from './gradNorm.wgsl'
import gradNormWorkgroup from './gradNormWorkgroup.wgsl'
import normFinalSource from './normFinal.wgsl'
import normFinalWorkgroup from './normFinalWorkgroup.wgsl'

/** A gradient arena of `blocks` times 64 elements, in pieces of `chunk` blocks. */
export interface GradNorm {
  blocks: number
  chunk: number
}

const tree = (device: Capabilities) => device.maxInvocations >= 256
const choose = (device: Capabilities) => (!device.software && tree(device) ? 'workgroup' : 'direct')

/** Blocks of a piece: pieces enough to keep the device busy, few enough that adding them up costs nothing. */
export function gradNormChunk(device: Capabilities, blocks: number): number {
  return Math.max(device.software ? 8 : 32, ceilDiv(blocks, 1024))
}

/** First pass of the global gradient norm: sums of squares over active slots, [ceil(blocks / chunk)]. */
export const gradNorm: KernelSpec<GradNorm> = {
  name: 'gradNorm',
  bindings: [
    { name: 'gradients', access: 'read', dtype: 'f32' },
    { name: 'blockSlot', access: 'read', dtype: 'i32' },
    { name: 'slots', access: 'read', dtype: 'f32' },
    { name: 'partials', access: 'read_write', dtype: 'f32' },
  ],
  params: [
    { name: 'blocks', type: 'u32' },
    { name: 'chunk', type: 'u32' },
  ],
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
  choose,
  flops: ({ blocks }) => 128 * blocks,
  bytes: ({ blocks }) => 256 * blocks,
}

/** Second pass: the root of the sum of `count` sums of squares, one element. */
export const normFinal: KernelSpec<{ count: number }> = {
  name: 'normFinal',
  bindings: [
    { name: 'partials', access: 'read', dtype: 'f32' },
    { name: 'norm', access: 'read_write', dtype: 'f32' },
  ],
  params: [{ name: 'count', type: 'u32' }],
  variants: [
    { name: 'direct', source: normFinalSource, grid: () => [1, 1, 1] },
    { name: 'workgroup', source: normFinalWorkgroup, supports: tree, grid: () => [1, 1, 1] },
  ],
  choose,
  flops: ({ count }) => count,
  bytes: ({ count }) => 4 * count,
}
