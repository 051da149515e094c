import type { RowVector } from '../axisView.ts'
import { chooseForLines, elementSums, groupConstants, groupVariants, rowVector, threadsFor } from '../axisView.ts'
import { branchStrides, type Constants, ceilDiv, grid1d, type KernelSpec, type Param, reads, scalars, writes } from '../spec.ts'
import direct from './direct.wgsl'
import subgroup from './subgroup.wgsl'
import workgroup from './workgroup.wgsl'

/** Rows of n elements. Those of x start at `xOffset` and lie `xStride` elements apart; all others are contiguous. */
export interface LayerNormRows {
  rows: number
  n: number
  xOffset: number
  xStride: number
}

export interface LayerNormProblem extends LayerNormRows {
  eps: number
}

/** The parameters that the forward and the backward kernel share. */
export const rowParams: readonly Param[] = scalars('u32', 'rows', 'n', 'xOffset', 'xStride')

/**
 * Layer normalization (1607.06450): y [rows, n] = (x - mean) / sqrt(variance + eps) * weight [n] + bias [n] over each row of x. For the
 * backward pass the kernel writes `center` [rows], each row's mean minus its first element, since a large mean itself loses digits, and
 * `rstd` [rows] = 1 / sqrt(variance + eps), which is NaN where the variance is beyond float32.
 */
export const layerNorm: KernelSpec<LayerNormProblem> = {
  name: 'layerNorm',
  bindings: [
    { name: 'x', access: 'read', dtype: 'f32', offset: 'xOffset' },
    ...reads('f32', 'weight', 'bias'),
    ...writes('f32', 'y', 'center', 'rstd'),
  ],
  params: [branchStrides(6), ...rowParams, ...scalars('f32', 'eps')],
  variants: [
    {
      name: 'direct',
      source: direct,
      constants(problem) {
        const vector = vectorOf(problem)
        const elements = problem.n / vector.ROW_VEC
        return { WORKGROUP: threadsFor(problem.rows), ...elementSums(elements), ...vector }
      },
      grid: ({ rows }, { WORKGROUP }) => grid1d(ceilDiv(rows, Number(WORKGROUP))),
    },
    ...groupVariants<LayerNormProblem>({ workgroup, subgroup }, groupPerRow, ({ rows }) => grid1d(rows)),
  ],
  choose: (device, { rows, n }) => chooseForLines(device, rows, n),
  flops: ({ rows, n }) => 8 * rows * n,
  bytes: ({ rows, n }) => 4 * (2 * rows * n + 2 * n + 2 * rows),
}

/** The constants of kernels with a workgroup for each row. */
export function groupPerRow(problem: LayerNormRows): Constants {
  return { ...groupConstants(problem.n, rowVector(problem.n)), ...vectorOf(problem) }
}

/** An `Element` is a vec4 where every row of x starts at a multiple of 4. */
function vectorOf({ n, xOffset, xStride }: LayerNormRows): RowVector {
  return rowVector(n, xOffset, xStride)
}
