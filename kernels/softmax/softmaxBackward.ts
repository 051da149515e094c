import { groupConstants, lineGrid } from '../axisView.ts'
import { grid1d, type KernelSpec } from '../spec.ts'
import direct from './backwardDirect.wgsl'
import subgroup from './backwardSubgroup.wgsl'
import workgroup from './backwardWorkgroup.wgsl'
import { chooseSoftmax, directConstants, type SoftmaxProblem, softmaxParams } from './softmax.ts'

/**
 * Gradient of softmax from its output y and the output's gradient dy: dx = y * (dy - sum(y * dy)) along each line; for
 * logSoftmax dx = dy - exp(y) * sum(dy).
 */
export const softmaxBackward: KernelSpec<SoftmaxProblem> = {
  name: 'softmaxBackward',
  bindings: [
    { name: 'y', access: 'read', dtype: 'f32' },
    { name: 'dy', access: 'read', dtype: 'f32' },
    { name: 'dx', access: 'read_write', dtype: 'f32' },
  ],
  params: softmaxParams,
  variants: [
    {
      name: 'direct',
      source: direct,
      constants: directConstants,
      grid: lineGrid,
    },
    {
      name: 'workgroup',
      source: workgroup,
      constants: (problem) => ({ ...groupConstants(problem), LOG: problem.log }),
      grid: ({ outer, inner }) => grid1d(outer * inner),
    },
    {
      name: 'subgroup',
      source: subgroup,
      supports: (device) => device.subgroupMaxSize > 0,
      constants: (problem) => ({ ...groupConstants(problem), LOG: problem.log }),
      grid: ({ outer, inner }) => grid1d(outer * inner),
    },
  ],
  choose: chooseSoftmax,
  flops: ({ outer, n, inner }) => 4 * outer * n * inner,
  bytes: ({ outer, n, inner }) => 12 * outer * n * inner,
}
