import { chooseForLines, groupVariants } from '../axisView.ts'
import { groupPerRow, type Rows, rowParams, rowsOfX, threadPerRow } from '../rows.ts'
import { branchStrides, grid1d, type KernelSpec, reads, scalars, writes } from '../spec.ts'
import direct from './direct.wgsl'
import subgroup from './subgroup.wgsl'
import workgroup from './workgroup.wgsl'

export interface LayerNormProblem extends Rows {
  eps: number
}

/**
 * Layer normalization (1607.06450): y [rows, n] = (x - mean) / sqrt(variance + eps) * weight [n] + bias [n] over each row of x. For the
 * backward pass the kernel writes `center` [rows], each row's mean minus its first element, since a large mean itself loses digits, and
 * `rstd` [rows] = 1 / sqrt(variance + eps), which is NaN where the variance is beyond float32.
 */
export const layerNorm: KernelSpec<LayerNormProblem> = {
  name: 'layerNorm',
  bindings: [rowsOfX, ...reads('f32', 'weight', 'bias'), ...writes('f32', 'y', 'center', 'rstd')],
  params: [branchStrides(6), ...rowParams, ...scalars('f32', 'eps')],
  variants: [
    threadPerRow(direct),
    ...groupVariants<LayerNormProblem>({ workgroup, subgroup }, groupPerRow, ({ rows }) => grid1d(rows)),
  ],
  choose: (device, { rows, n }) => chooseForLines(device, rows, n),
  flops: ({ rows, n }) => 8 * rows * n,
  bytes: ({ rows, n }) => 4 * (2 * rows * n + 2 * n + 2 * rows),
}
