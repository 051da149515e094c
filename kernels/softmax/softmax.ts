import { type AxisView, chooseForLines, groupConstants, lineConstants, lineGrid } from '../axisView.ts'
import { branchStrides, type Capabilities, type Constants, grid1d, type KernelSpec, type Param } from '../spec.ts'
import direct from './direct.wgsl'
import subgroup from './subgroup.wgsl'
import workgroup from './workgroup.wgsl'

/** A tensor viewed as [outer, n, inner]; the softmax runs along n. `log`: its logarithm instead. */
export interface SoftmaxProblem extends AxisView {
  log: boolean
}

export const softmaxParams: readonly Param[] = [
  branchStrides(3),
  { name: 'outer', type: 'u32' },
  { name: 'n', type: 'u32' },
  { name: 'inner', type: 'u32' },
]

/** y = softmax(x) or logSoftmax(x) along the middle axis of [outer, n, inner]. */
export const softmax: KernelSpec<SoftmaxProblem> = {
  name: 'softmax',
  bindings: [
    { name: 'x', access: 'read', dtype: 'f32' },
    { name: 'y', access: 'read_write', dtype: 'f32' },
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
  flops: ({ outer, n, inner }) => 5 * outer * n * inner,
  bytes: ({ outer, n, inner }) => 8 * outer * n * inner,
}

/** Constants of the kernels with one thread a line. */
export function directConstants(problem: SoftmaxProblem): Constants {
  const constants = lineConstants(problem)
  return { ...constants, Bits: constants.Element === 'f32' ? 'u32' : 'vec4<u32>', LOG: problem.log }
}

/** Which variant of the forward and the backward kernel suits a device and a shape. */
export function chooseSoftmax(device: Capabilities, { outer, n, inner }: AxisView): string {
  // Lines side by side are read coalesced by neighbouring threads, if there are enough of them to fill the device.
  if (inner >= 32 && outer * inner >= 4096) return 'direct'
  return chooseForLines(device, outer * inner, n)
}
