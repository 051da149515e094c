import type { Capabilities, KernelSpec } from '../spec.ts'
import { ceilDiv, grid1d } from '../spec.ts'
import gradNormSource from './gradNorm.wgsl'
import gradNormWorkgroup from './gradNormWorkgroup.wgsl'

/** A gradient arena of `blocks` times 64 elements, in pieces of `chunk` blocks. */
export interface GradNorm {
  blocks: number
  chunk: number
}

/** Whether a workgroup of 256 can add up in a tree. */
export function tree(device: Capabilities): boolean {
  return device.maxInvocations >= 256
}

/** Blocks of a piece: pieces enough to keep the device busy, few enough that adding them up costs nothing. */
export function gradNormChunk(device: Capabilities, blocks: number): number {
  return Math.max(device.software ? 8 : 32, ceilDiv(blocks, 1024))
}

/** First pass of the global gradient norm: sums of squares over slots that take part (`rules`), [ceil(blocks / chunk)]. */
export const gradNorm: KernelSpec<GradNorm> = {
  name: 'gradNorm',
  bindings: [
    { name: 'gradients', access: 'read', dtype: 'f32' },
    { name: 'blockSlot', access: 'read', dtype: 'i32' },
    { name: 'rules', access: 'read', dtype: 'f32' },
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
  choose: (device) => (!device.software && tree(device) ? 'workgroup' : 'direct'),
  flops: ({ blocks }) => 128 * blocks,
  bytes: ({ blocks }) => 256 * blocks,
}
