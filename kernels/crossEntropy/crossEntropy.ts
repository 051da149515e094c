import { chooseForLines, groupConstants, isLong, threadsFor, unroll } from '../axisView.ts'
import { branchStrides, type Constants, ceilDiv, grid1d, type KernelSpec, type Param } from '../spec.ts'
import direct from './direct.wgsl'
import subgroup from './subgroup.wgsl'
import workgroup from './workgroup.wgsl'

/** Bits of a NaN. WGSL rejects constant NaNs, so the kernels get them as a parameter. */
export const NAN_BITS = 0x7fc00000

export interface CrossEntropyProblem {
  rows: number
  classes: number
  nan: typeof NAN_BITS
}

/**
 * losses = logsumexp(logits of the row) - logit of the label. Keeps each row's largest logit and its sum of
 * exp(logit - largest) for the backward pass; their sum, logsumexp, would be too coarse where logits are large. A label
 * outside [0, classes) gives the loss NaN.
 */
export const crossEntropy: KernelSpec<CrossEntropyProblem> = {
  name: 'crossEntropy',
  bindings: [
    { name: 'logits', access: 'read', dtype: 'f32' },
    { name: 'labels', access: 'read', dtype: 'i32' },
    { name: 'losses', access: 'read_write', dtype: 'f32' },
    { name: 'statistics', access: 'read_write', dtype: 'f32' },
  ],
  params: [branchStrides(4), ...['rows', 'classes', 'nan'].map((name): Param => ({ name, type: 'u32' }))],
  variants: [
    {
      name: 'direct',
      source: direct,
      constants: (problem) => {
        const constants = threadPerRow(problem)
        return { ...constants, LONG: isLong(problem.classes / constants.ROW_VEC) }
      },
      grid: ({ rows }, { WORKGROUP }) => grid1d(ceilDiv(rows, Number(WORKGROUP))),
    },
    { name: 'workgroup', source: workgroup, constants: groupPerRow, grid: ({ rows }) => grid1d(rows) },
    {
      name: 'subgroup',
      source: subgroup,
      supports: (device) => device.subgroupMaxSize > 0,
      constants: groupPerRow,
      grid: ({ rows }) => grid1d(rows),
    },
  ],
  choose: (device, { rows, classes }) => chooseForLines(device, rows, classes),
  flops: ({ rows, classes }) => 4 * rows * classes,
  bytes: ({ rows, classes }) => 4 * (rows * classes + 4 * rows),
}

/** Constants of kernels with one thread a row. */
export function threadPerRow({ rows, classes }: CrossEntropyProblem): Constants & { ROW_VEC: number } {
  const vector = classes % 4 === 0 ? { ROW_VEC: 4, Element: 'vec4<f32>' } : { ROW_VEC: 1, Element: 'f32' }
  return { WORKGROUP: threadsFor(rows), UNROLL: unroll(classes / vector.ROW_VEC), ...vector }
}

function groupPerRow({ classes }: CrossEntropyProblem): Constants {
  return groupConstants({ n: classes, inner: 1 })
}
