import { branchStrides, type Constants, ceilDiv, grid1d, type KernelSpec } from '../spec.ts'
import direct from './backwardDirect.wgsl'
import elements from './backwardElements.wgsl'
import { type CrossEntropyProblem, threadPerRow } from './crossEntropy.ts'

/** The gradient of row r's loss is `scale` times element `r * gradientStride` of `gradient`; a stride of 0 takes one for all. */
export interface CrossEntropyBackwardProblem extends CrossEntropyProblem {
  gradientStride: 0 | 1
  scale: number
}

/**
 * dlogits = (softmax(logits) - onehot(label)) * gradient of the row's loss; `statistics` is what the forward kernel gave. A
 * row whose label lies outside [0, classes) gets NaN. Nothing is reduced, so no variant needs workgroup memory.
 */
export const crossEntropyBackward: KernelSpec<CrossEntropyBackwardProblem> = {
  name: 'crossEntropyBackward',
  bindings: [
    { name: 'logits', access: 'read', dtype: 'f32' },
    { name: 'labels', access: 'read', dtype: 'i32' },
    { name: 'statistics', access: 'read', dtype: 'f32' },
    { name: 'gradient', access: 'read', dtype: 'f32' },
    { name: 'dlogits', access: 'read_write', dtype: 'f32' },
  ],
  params: [
    branchStrides(5),
    { name: 'rows', type: 'u32' },
    { name: 'classes', type: 'u32' },
    { name: 'nan', type: 'u32' },
    { name: 'gradientStride', type: 'u32' },
    { name: 'scale', type: 'f32' },
  ],
  variants: [
    {
      name: 'direct',
      source: direct,
      constants: (problem) => ({ ...threadPerRow(problem), ...lanes(problem) }),
      grid: ({ rows }, { WORKGROUP }) => grid1d(ceilDiv(rows, Number(WORKGROUP))),
    },
    {
      name: 'elements',
      source: elements,
      constants: lanes,
      grid: ({ rows, classes }, { ROW_VEC }) => grid1d(ceilDiv((rows * classes) / Number(ROW_VEC), 64)),
    },
  ],
  // Finding its row costs a thread two divisions, which a software device feels.
  choose: (device, { rows }) => (device.software && rows >= 4 ? 'direct' : 'elements'),
  flops: ({ rows, classes }) => 4 * rows * classes,
  bytes: ({ rows, classes }) => 4 * (2 * rows * classes + 4 * rows),
}

function lanes({ classes }: CrossEntropyProblem): Constants {
  return classes % 4 === 0
    ? { ROW_VEC: 4, Element: 'vec4<f32>', LANES: 'vec4<f32>(0.0, 1.0, 2.0, 3.0)' }
    : { ROW_VEC: 1, Element: 'f32', LANES: '0.0' }
}
