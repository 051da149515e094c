import { chooseForLines } from '../lines.ts'
import { grid1d, type KernelSpec } from '../spec.ts'
import direct from './backwardDirect.wgsl'
import subgroup from './backwardSubgroup.wgsl'
import workgroup from './backwardWorkgroup.wgsl'
import { groupPerRow, type LayerNormRows, rowParams, threadGrid, threadPerRow } from './layerNorm.ts'

/** Gradient of LayerNorm with respect to x; `center` and `rstd` are what the forward kernel gave. */
export const layerNormBackward: KernelSpec<LayerNormRows> = {
  name: 'layerNormBackward',
  bindings: [
    { name: 'x', access: 'read', dtype: 'f32', offset: 'xOffset' },
    { name: 'weight', access: 'read', dtype: 'f32' },
    { name: 'center', access: 'read', dtype: 'f32' },
    { name: 'rstd', access: 'read', dtype: 'f32' },
    { name: 'dy', access: 'read', dtype: 'f32' },
    { name: 'dx', access: 'read_write', dtype: 'f32' },
  ],
  params: rowParams,
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
  flops: ({ rows, n }) => 11 * rows * n,
  bytes: ({ rows, n }) => 4 * (3 * rows * n + n + 2 * rows),
}
