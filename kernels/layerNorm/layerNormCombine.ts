import { branchStrides, ceilDiv, grid1d, type KernelSpec, type Param } from '../spec.ts'
import combine from './combine.wgsl'

export interface LayerNormCombineProblem {
  n: number
  chunks: number
  weightOffset: number
  /** From the weight's place to the bias's, modulo 2^32. */
  toBias: number
}

/** Adds up sums [2, chunks, n] of weight and bias gradients into [n] at `weightOffset`, and again `toBias` elements on. */
export const layerNormCombine: KernelSpec<LayerNormCombineProblem> = {
  name: 'layerNormCombine',
  bindings: [
    { name: 'sums', access: 'read', dtype: 'f32' },
    { name: 'gradients', access: 'read_write', dtype: 'f32', offset: 'weightOffset' },
  ],
  params: [branchStrides(2), ...['n', 'chunks', 'weightOffset', 'toBias'].map((name): Param => ({ name, type: 'u32' }))],
  variants: [{ name: 'direct', source: combine, grid: ({ n }) => grid1d(ceilDiv(2 * n, 64)) }],
  flops: ({ n, chunks }) => 2 * n * chunks,
  bytes: ({ n, chunks }) => 4 * (2 * n * chunks + 2 * n),
}
