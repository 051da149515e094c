import { chooseForLines, groupConstants, isLong, threadsFor, unroll } from '../axisView.ts'
import { branchStrides, type Constants, ceilDiv, grid1d, type KernelSpec, type Param } from '../spec.ts'
import direct from './direct.wgsl'
import subgroup from './subgroup.wgsl'
import workgroup from './workgroup.wgsl'

/** Rows of n elements; those of x start at `xOffset` and lie `xStride` elements apart, all others are contiguous. */
export interface LayerNormRows {
  rows: number
  n: number
  xOffset: number
  xStride: number
}

export interface LayerNormProblem extends LayerNormRows {
  eps: number
}

/** What the kernels over rows share. */
export const rowParams: readonly Param[] = [
  { name: 'rows', type: 'u32' },
  { name: 'n', type: 'u32' },
  { name: 'xOffset', type: 'u32' },
  { name: 'xStride', type: 'u32' },
]

/**
 * y = (x - mean) / sqrt(variance + eps) * weight + bias over each row. Also gives, for the backward pass, each row's mean
 * minus its first element (a large mean would lose digits) and 1 / sqrt(variance + eps), NaN where the variance is beyond float32.
 */
export const layerNorm: KernelSpec<LayerNormProblem> = {
  name: 'layerNorm',
  bindings: [
    { name: 'x', access: 'read', dtype: 'f32', offset: 'xOffset' },
    { name: 'weight', access: 'read', dtype: 'f32' },
    { name: 'bias', access: 'read', dtype: 'f32' },
    { name: 'y', access: 'read_write', dtype: 'f32' },
    { name: 'center', access: 'read_write', dtype: 'f32' },
    { name: 'rstd', access: 'read_write', dtype: 'f32' },
  ],
  params: [branchStrides(6), ...rowParams, { name: 'eps', type: 'f32' }],
  variants: [
    { name: 'direct', source: direct, constants: threadPerRow, grid: threadGrid },
    { name: 'workgroup', source: workgroup, constants: groupPerRow, grid: ({ rows }) => grid1d(rows) },
    {
      name: 'subgroup',
      source: subgroup,
      supports: (device) => device.subgroupMaxSize > 0,
      constants: groupPerRow,
      grid: ({ rows }) => grid1d(rows),
    },
  ],
  choose: (device, { rows, n }) => chooseForLines(device, rows, n),
  flops: ({ rows, n }) => 8 * rows * n,
  bytes: ({ rows, n }) => 4 * (2 * rows * n + 2 * n + 2 * rows),
}

/** Constants of kernels with one thread a row. */
export function threadPerRow(problem: LayerNormRows): Constants {
  const vector = rowVector(problem)
  const elements = problem.n / vector.ROW_VEC
  return { WORKGROUP: threadsFor(problem.rows), LONG: isLong(elements), UNROLL: unroll(elements), ...vector }
}

/** Constants of kernels with one workgroup a row. */
export function groupPerRow(problem: LayerNormRows): Constants {
  return { ...groupConstants({ n: problem.n, inner: 1 }), ...rowVector(problem) }
}

export function threadGrid({ rows }: LayerNormRows, { WORKGROUP }: Constants) {
  return grid1d(ceilDiv(rows, Number(WORKGROUP)))
}

/** `Element` is a vec4 where every row of x starts at a multiple of 4. */
export function rowVector({ n, xOffset, xStride }: LayerNormRows): { ROW_VEC: number; Element: string } {
  return [n, xOffset, xStride].every((count) => count % 4 === 0)
    ? { ROW_VEC: 4, Element: 'vec4<f32>' }
    : { ROW_VEC: 1, Element: 'f32' }
}
