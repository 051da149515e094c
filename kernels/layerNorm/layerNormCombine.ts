import { branchStrides, ceilDiv, grid1d, type KernelSpec, reads, scalars } from '../spec.ts'
import combine from './combine.wgsl'

export interface LayerNormCombineProblem {
  n: number
  chunks: number
  weightOffset: number
  /** The distance from the weight's gradient to the bias's, modulo 2^32. */
  toBias: number
}

/**
 * Adds up `sums` [2, chunks, n], the partial gradients of weight and bias. In `gradients`, the gradient of the weight [n] begins at
 * `weightOffset`, and that of the bias begins `toBias` elements later.
 */
export const layerNormCombine: KernelSpec<LayerNormCombineProblem> = {
  name: 'layerNormCombine',
  bindings: [...reads('f32', 'sums'), { name: 'gradients', access: 'read_write', dtype: 'f32', offset: 'weightOffset' }],
  params: [branchStrides(2), ...scalars('u32', 'n', 'chunks', 'weightOffset', 'toBias')],
  variants: [{ name: 'direct', source: combine, grid: ({ n }) => grid1d(ceilDiv(2 * n, 64)) }],
  flops: ({ n, chunks }) => 2 * n * chunks,
  bytes: ({ n, chunks }) => 4 * (2 * n * chunks + 2 * n),
}
