import { branchStrides, type Capabilities, ceilDiv, grid1d, type KernelSpec, type Param } from '../spec.ts'
import combine from './combine.wgsl'
import { type LayerNormRows, rowParams, rowVector } from './layerNorm.ts'
import direct from './parametersDirect.wgsl'
import workgroup from './parametersWorkgroup.wgsl'

/** Sums of `chunks` parts of the rows, at two places (in elements) of one buffer. */
export interface LayerNormParametersProblem extends LayerNormRows {
  chunks: number
  weightOffset: number
  /** From the weight's place to the bias's, modulo 2^32. */
  toBias: number
}

/**
 * Gradients of weight and bias, summed over each of `chunks` parts of the rows: [chunks, n] at `weightOffset` and
 * again `toBias` elements on. With one chunk these are the gradients; else `layerNormCombine` adds the chunks up. One output buffer, since
 * two parameters of an arena share one and it cannot be bound twice for writing.
 */
export const layerNormParameters: KernelSpec<LayerNormParametersProblem> = {
  name: 'layerNormParameters',
  bindings: [
    { name: 'x', access: 'read', dtype: 'f32', offset: 'xOffset' },
    { name: 'center', access: 'read', dtype: 'f32' },
    { name: 'rstd', access: 'read', dtype: 'f32' },
    { name: 'dy', access: 'read', dtype: 'f32' },
    { name: 'sums', access: 'read_write', dtype: 'f32', offset: 'weightOffset' },
  ],
  params: [
    ...rowParams,
    { name: 'chunks', type: 'u32' },
    { name: 'weightOffset', type: 'u32' },
    { name: 'toBias', type: 'u32' },
  ],
  variants: [
    {
      name: 'direct',
      source: direct,
      constants(problem) {
        const vector = columnVector(problem)
        return { WORKGROUP: problem.n / vector.ROW_VEC < 64 ? 8 : 64, ...vector }
      },
      grid: ({ n, chunks }, { ROW_VEC, WORKGROUP }) => grid1d(ceilDiv(n / Number(ROW_VEC), Number(WORKGROUP)) * chunks),
    },
    {
      name: 'workgroup',
      source: workgroup,
      constants: columnVector,
      grid: ({ n, chunks }, { ROW_VEC }) => grid1d(ceilDiv(n / Number(ROW_VEC), 32) * chunks),
    },
  ],
  choose: (device) => (device.software ? 'direct' : 'workgroup'),
  flops: ({ rows, n }) => 6 * rows * n,
  bytes: ({ rows, n, chunks }) => 4 * (2 * rows * n + 2 * rows + 2 * chunks * n),
}

function columnVector(problem: LayerNormParametersProblem): { ROW_VEC: number; Element: string } {
  const whole = problem.weightOffset % 4 === 0 && problem.toBias % 4 === 0
  return whole ? rowVector(problem) : { ROW_VEC: 1, Element: 'f32' }
}

/** Into how many parts to cut the rows: enough for all cores, few enough that adding up the parts stays cheap. */
export function layerNormChunks(device: Capabilities, rows: number): number {
  const [rowsEach, most] = device.software ? [64, 16] : [32, 128]
  return Math.max(1, Math.min(most, Math.floor(rows / rowsEach)))
}

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
