import { groupConstants, threadsFor } from '../lines.ts'
import { type Capabilities, type Constants, ceilDiv, grid1d, type KernelSpec } from '../spec.ts'
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
  params: ['rows', 'classes', 'nan'].map((name) => ({ name, type: 'u32' })),
  variants: [
    {
      name: 'direct',
      source: direct,
      constants: ({ rows, classes }) => ({ WORKGROUP: threadsFor(rows), ...rowVector(classes) }),
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
  choose: chooseCrossEntropy,
  flops: ({ rows, classes }) => 4 * rows * classes,
  bytes: ({ rows, classes }) => 4 * (rows * classes + 4 * rows),
}

function rowVector(classes: number): Constants {
  return classes % 4 === 0 ? { ROW_VEC: 4, Element: 'vec4<f32>' } : { ROW_VEC: 1, Element: 'f32' }
}

function groupPerRow({ classes }: CrossEntropyProblem): Constants {
  return groupConstants({ n: classes, inner: 1 })
}

function chooseCrossEntropy(device: Capabilities, { rows, classes }: CrossEntropyProblem): string {
  const reduced = device.subgroupMaxSize > 0 ? 'subgroup' : 'workgroup'
  // A thread a row leaves all cores but one idle where there is one long row.
  if (device.software) return rows < 4 && classes >= 4096 ? reduced : 'direct'
  return classes <= 32 ? 'direct' : reduced
}
