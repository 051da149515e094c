import { chooseForLines, elementSums, groupConstants, groupVariants, rowVector, threadsFor, unroll } from '../axisView.ts'
import {
  branchStrides,
  type Constants,
  ceilDiv,
  type Grid,
  grid1d,
  type KernelSpec,
  type Param,
  reads,
  scalars,
  writes,
} from '../spec.ts'
import backwardDirect from './backwardDirect.wgsl'
import backwardElements from './backwardElements.wgsl'
import countedSource from './counted.wgsl'
import direct from './direct.wgsl'
import gradientDirect from './gradientDirect.wgsl'
import gradientSubgroup from './gradientSubgroup.wgsl'
import gradientWorkgroup from './gradientWorkgroup.wgsl'
import subgroup from './subgroup.wgsl'
import workgroup from './workgroup.wgsl'

/** The bits of a NaN, which the kernels get as a parameter because WGSL rejects constant NaNs. */
export const NAN_BITS = 0x7fc00000

export interface CrossEntropyProblem {
  rows: number
  classes: number
  nan: typeof NAN_BITS
  /** The number of labels, after which they repeat: rows where each row has its own. */
  labelRows: number
  /** The share of the loss that is the mean over all classes (label smoothing, 1512.00567); without it 0. */
  smoothing?: number
  /** The label of rows that have loss and gradient 0; without it there are none. */
  ignored?: number
}

/** The options that are compiled in. */
function options({ smoothing, ignored }: CrossEntropyProblem): Constants {
  return { ...(smoothing && { SMOOTH: true }), ...(ignored !== undefined && { IGNORE: true }) }
}

const optionParams: readonly Param[] = [...scalars('f32', 'smoothing'), ...scalars('i32', 'ignored')].map((param) => ({
  ...param,
  optional: true,
}))

function threadPerRow({ rows, classes }: CrossEntropyProblem): Constants {
  const vector = rowVector(classes)
  return { WORKGROUP: threadsFor(rows), UNROLL: unroll(classes / vector.ROW_VEC), ...vector }
}

function threadGrid({ rows }: CrossEntropyProblem, { WORKGROUP }: Constants): Grid {
  return grid1d(ceilDiv(rows, Number(WORKGROUP)))
}

/**
 * losses [rows] = logsumexp(row of logits [rows, classes]) - its logit at the label, which is element r % labelRows of `labels` for row r. A label outside [0, classes) gives the loss NaN.
 * `statistics` [rows, 2] keeps each row's largest logit and its sum of exp(logit - largest) for the backward pass. Their logsumexp alone
 * is too coarse where logits are large. With `smoothing` s the loss is 1 - s times this plus s times logsumexp minus the mean logit.
 */
export const crossEntropy: KernelSpec<CrossEntropyProblem> = {
  name: 'crossEntropy',
  bindings: [...reads('f32', 'logits'), ...reads('i32', 'labels'), ...writes('f32', 'losses', 'statistics')],
  params: [branchStrides(4), ...scalars('u32', 'rows', 'classes', 'nan', 'labelRows'), ...optionParams],
  variants: [
    {
      name: 'direct',
      source: direct,
      constants: (problem) => ({
        ...threadPerRow(problem),
        ...elementSums(problem.classes / rowVector(problem.classes).ROW_VEC),
        ...options(problem),
      }),
      grid: threadGrid,
    },
    ...groupVariants<CrossEntropyProblem>(
      { workgroup, subgroup },
      (problem) => ({ ...groupConstants(problem.classes, rowVector(problem.classes)), ...options(problem) }),
      ({ rows }) => grid1d(rows),
    ),
  ],
  choose: (device, { rows, classes }) => chooseForLines(device, rows, classes),
  flops: ({ rows, classes }) => 4 * rows * classes,
  bytes: ({ rows, classes }) => 4 * (rows * classes + 4 * rows),
}

/** The gradient of row r's loss is `scale` times element floor(r / gradientRows) of `gradient`. */
export interface CrossEntropyBackwardProblem extends CrossEntropyProblem {
  /** The number of neighbouring rows that share an element of `gradient`, from 1 to all rows. */
  gradientRows: number
  scale: number
}

function lanes({ classes }: CrossEntropyProblem): Constants {
  const vector = rowVector(classes)
  return { ...vector, LANES: vector.ROW_VEC === 4 ? 'vec4<f32>(0.0, 1.0, 2.0, 3.0)' : '0.0' }
}

/**
 * dlogits [rows, classes] = (softmax(logits) - onehot(label)) * gradient of the row's loss, where `statistics` [rows, 2] is what the
 * forward kernel wrote. A row whose label lies outside [0, classes) gets NaN. Nothing is reduced, so no variant needs workgroup memory.
 */
export const crossEntropyBackward: KernelSpec<CrossEntropyBackwardProblem> = {
  name: 'crossEntropyBackward',
  bindings: [
    ...reads('f32', 'logits'),
    ...reads('i32', 'labels'),
    ...reads('f32', 'statistics', 'gradient'),
    ...writes('f32', 'dlogits'),
  ],
  params: [
    branchStrides(5),
    ...scalars('u32', 'rows', 'classes', 'nan', 'labelRows', 'gradientRows'),
    ...scalars('f32', 'scale'),
    ...optionParams,
  ],
  variants: [
    {
      name: 'direct',
      source: backwardDirect,
      constants: (problem) => ({ ...threadPerRow(problem), ...lanes(problem), ...options(problem) }),
      grid: threadGrid,
    },
    {
      name: 'elements',
      source: backwardElements,
      constants: (problem) => ({ ...lanes(problem), ...options(problem) }),
      grid: ({ rows, classes }, { ROW_VEC }) => grid1d(ceilDiv((rows * classes) / Number(ROW_VEC), 64)),
    },
  ],
  // A thread of `elements` spends two divisions on finding its row, which a software device feels.
  choose: (device, { rows }) => (device.software && rows >= 4 ? 'direct' : 'elements'),
  flops: ({ rows, classes }) => 4 * rows * classes,
  bytes: ({ rows, classes }) => 4 * (2 * rows * classes + 4 * rows),
}

/** `scale` is the gradient of every row's loss. */
export interface CrossEntropyGradientProblem extends CrossEntropyProblem {
  scale: number
}

/**
 * losses [rows] as `crossEntropy` computes them, and dlogits [rows, classes] = (softmax(logits) - onehot(label)) * scale, in one pass. Where
 * the gradient of the losses is known before they are, no launch of `crossEntropyBackward` must follow.
 */
export const crossEntropyGradient: KernelSpec<CrossEntropyGradientProblem> = {
  name: 'crossEntropyGradient',
  bindings: [...reads('f32', 'logits'), ...reads('i32', 'labels'), ...writes('f32', 'losses', 'dlogits')],
  params: [
    branchStrides(4),
    ...scalars('u32', 'rows', 'classes', 'nan', 'labelRows'),
    ...scalars('f32', 'scale'),
    ...optionParams,
  ],
  variants: [
    {
      name: 'direct',
      source: gradientDirect,
      constants: (problem) => ({
        ...threadPerRow(problem),
        ...elementSums(problem.classes / rowVector(problem.classes).ROW_VEC),
        ...lanes(problem),
        ...options(problem),
      }),
      grid: threadGrid,
    },
    ...groupVariants<CrossEntropyGradientProblem>(
      { workgroup: gradientWorkgroup, subgroup: gradientSubgroup },
      (problem) => ({ ...groupConstants(problem.classes, rowVector(problem.classes)), ...lanes(problem), ...options(problem) }),
      ({ rows }) => grid1d(rows),
    ),
  ],
  choose: (device, { rows, classes }) => chooseForLines(device, rows, classes),
  flops: ({ rows, classes }) => 8 * rows * classes,
  bytes: ({ rows, classes }) => 4 * (2 * rows * classes + 2 * rows),
}

/** counted [rows]: 1 where the label is not `ignored`, else 0. */
export const countedRows: KernelSpec<{ rows: number; ignored: number }> = {
  name: 'countedRows',
  bindings: [...reads('i32', 'labels'), ...writes('f32', 'counted')],
  params: [branchStrides(2), ...scalars('u32', 'rows'), ...scalars('i32', 'ignored')],
  variants: [{ name: 'direct', source: countedSource, grid: ({ rows }) => grid1d(ceilDiv(rows, 64)) }],
  flops: () => 0,
  bytes: ({ rows }) => 8 * rows,
}
