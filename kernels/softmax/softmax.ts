import type { AxisView } from '../axisView.ts'
import { chooseForLines, groupConstants, groupVariants, lineConstants, lineGrid, rowVector } from '../axisView.ts'
import { branchStrides, type Capabilities, grid1d, type KernelSpec, reads, scalars, type Variant, writes } from '../spec.ts'
import backwardDirect from './backwardDirect.wgsl'
import backwardSubgroup from './backwardSubgroup.wgsl'
import backwardWorkgroup from './backwardWorkgroup.wgsl'
import direct from './direct.wgsl'
import subgroup from './subgroup.wgsl'
import workgroup from './workgroup.wgsl'

/** A softmax along the middle axis of [outer, n, inner], or its logarithm. */
export interface SoftmaxProblem extends AxisView {
  log: boolean
}

function variants(direct: string, groups: { workgroup: string; subgroup: string }): Variant<SoftmaxProblem>[] {
  return [
    {
      name: 'direct',
      source: direct,
      constants(problem) {
        const constants = lineConstants(problem)
        return { ...constants, Bits: constants.Element === 'f32' ? 'u32' : 'vec4<u32>', LOG: problem.log }
      },
      grid: lineGrid,
    },
    ...groupVariants<SoftmaxProblem>(
      groups,
      ({ n, inner, log }) => ({ ...groupConstants(n, rowVector(inner === 1 ? n : 1)), LOG: log }),
      ({ outer, inner }) => grid1d(outer * inner),
    ),
  ]
}

function choose(device: Capabilities, { outer, n, inner }: AxisView): string {
  // Neighbouring threads read neighbouring lines coalesced, where there are enough lines to fill the device.
  if (inner >= 32 && outer * inner >= 4096) return 'direct'
  return chooseForLines(device, outer * inner, n)
}

const params = [branchStrides(3), ...scalars('u32', 'outer', 'n', 'inner')]

/** y [outer, n, inner] = softmax(x) or logSoftmax(x) along the middle axis of x [outer, n, inner]. */
export const softmax: KernelSpec<SoftmaxProblem> = {
  name: 'softmax',
  bindings: [...reads('f32', 'x'), ...writes('f32', 'y')],
  params,
  variants: variants(direct, { workgroup, subgroup }),
  choose,
  flops: ({ outer, n, inner }) => 5 * outer * n * inner,
  bytes: ({ outer, n, inner }) => 8 * outer * n * inner,
}

/**
 * The gradient of softmax from its output y and the output's gradient dy, all [outer, n, inner]: dx = y * (dy - sum(y * dy)) along each
 * line. For logSoftmax it is dx = dy - exp(y) * sum(dy).
 */
export const softmaxBackward: KernelSpec<SoftmaxProblem> = {
  name: 'softmaxBackward',
  bindings: [...reads('f32', 'y', 'dy'), ...writes('f32', 'dx')],
  params,
  variants: variants(backwardDirect, { workgroup: backwardWorkgroup, subgroup: backwardSubgroup }),
  choose,
  flops: ({ outer, n, inner }) => 4 * outer * n * inner,
  bytes: ({ outer, n, inner }) => 12 * outer * n * inner,
}
