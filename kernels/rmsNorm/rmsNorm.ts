import { chooseForLines } from '../axisView.ts'
import { groupPerRow, type Rows, rowParams, rowsOfX, threadPerRow } from '../rows.ts'
import type { Capabilities, Constants, KernelSpec, Variant } from '../spec.ts'
import { branchStrides, grid1d, reads, scalars, writes } from '../spec.ts'
import backwardDirect from './backwardDirect.wgsl'
import backwardWorkgroup from './backwardWorkgroup.wgsl'
import direct from './direct.wgsl'
import workgroup from './workgroup.wgsl'

export interface RmsNormProblem extends Rows {
  eps: number
}

/**
 * RMSNorm (1910.07467): y [rows, n] = x * rstd * weight [n] over each row of x. For the backward pass the kernel writes `rstd` [rows] =
 * 1 / sqrt(mean(x^2) + eps), which is NaN where the sum of squares is beyond float32.
 */
export const rmsNorm: KernelSpec<RmsNormProblem> = {
  name: 'rmsNorm',
  bindings: [rowsOfX, ...reads('f32', 'weight'), ...writes('f32', 'y', 'rstd')],
  params: [branchStrides(4), ...rowParams, ...scalars('f32', 'eps')],
  variants: variants(direct, workgroup),
  choose,
  flops: ({ rows, n }) => 4 * rows * n,
  bytes: ({ rows, n }) => 4 * (2 * rows * n + n + rows),
}

export interface RmsNormBackwardProblem extends Rows {
  /** Whether the terms of the weight's gradient are wanted. */
  terms: boolean
}

/**
 * The gradient of RMSNorm from dy [rows, n] and from `rstd` [rows] of the forward kernel: dx [rows, n], and the terms of the weight's
 * gradient, dy * x * rstd [rows, n], which are to be summed over the rows.
 */
export const rmsNormBackward: KernelSpec<RmsNormBackwardProblem> = {
  name: 'rmsNormBackward',
  bindings: [rowsOfX, ...reads('f32', 'weight', 'rstd', 'dy'), ...writes('f32', 'dx', 'terms')],
  params: [branchStrides(6), ...rowParams],
  variants: variants(backwardDirect, backwardWorkgroup, ({ terms }) => ({ TERMS: terms })),
  choose,
  flops: ({ rows, n, terms }) => (terms ? 9 : 7) * rows * n,
  bytes: ({ rows, n, terms }) => 4 * ((terms ? 4 : 3) * rows * n + n + rows),
}

/** The variants `direct`, with a thread for each row, and `workgroup`, with a workgroup for each row. */
function variants<P extends Rows>(
  direct: string,
  workgroup: string,
  more: (problem: P) => Constants = () => ({}),
): Variant<P>[] {
  return [
    threadPerRow(direct, more),
    {
      name: 'workgroup',
      source: workgroup,
      constants: (problem) => ({ ...groupPerRow(problem), ...more(problem) }),
      grid: ({ rows }) => grid1d(rows),
    },
  ]
}

/** Chooses as for a device without subgroups, for which there is no variant. */
function choose(device: Capabilities, { rows, n }: Rows): string {
  return chooseForLines({ ...device, subgroupMaxSize: 0 }, rows, n)
}
