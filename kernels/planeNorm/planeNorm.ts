import { groupConstants, isLong, rowVector, threadsFor } from '../axisView.ts'
import {
  branchStrides,
  type Capabilities,
  type Constants,
  ceilDiv,
  type Grid,
  grid1d,
  type KernelSpec,
  type Param,
  reads,
  scalars,
  type Variant,
  writes,
} from '../spec.ts'
import gradientMeansSource from './gradientMeans.wgsl'
import gradientSumsSource from './gradientSums.wgsl'
import gradientSumsWorkgroupSource from './gradientSumsWorkgroup.wgsl'
import inputGradientSource from './inputGradient.wgsl'
import momentsSource from './moments.wgsl'
import momentsWorkgroupSource from './momentsWorkgroup.wgsl'
import normalizeSource from './normalize.wgsl'
import runningStatisticsSource from './runningStatistics.wgsl'
import statisticsSource from './statistics.wgsl'

/**
 * A normalization of [batch, channels, n] whose statistics are over rows of planes of n elements: for batchNorm (1502.03167) the row of a
 * channel has its planes of all images, for groupNorm (1803.08494) the row of an image and a group the planes of its channels.
 */
export interface PlaneNorm {
  planes: number
  channels: number
  n: number
  /** The rows of statistics. Row r has the planes `r * rowStep + k * planeStep` for k below `planesPerRow`. */
  rows: number
  planesPerRow: number
  rowStep: number
  planeStep: number
  /** The plane of an image and a channel is of row `image * rowsPerBatch + channel / channelsPerRow`, rounded down. */
  rowsPerBatch: number
  channelsPerRow: number
  eps: number
  /** How much of new statistics goes into running ones. */
  momentum: number
}

/** The rows of batchNorm. */
export function batchRows(batch: number, channels: number): Omit<PlaneNorm, 'n' | 'eps' | 'momentum'> {
  const planes = { planes: batch * channels, channels, rows: channels, planesPerRow: batch }
  return { ...planes, rowStep: 1, planeStep: channels, rowsPerBatch: 0, channelsPerRow: 1 }
}

/** The rows of groupNorm. */
export function groupRows(batch: number, channels: number, groups: number): Omit<PlaneNorm, 'n' | 'eps' | 'momentum'> {
  const size = channels / groups
  const planes = { planes: batch * channels, channels, rows: batch * groups, planesPerRow: size }
  return { ...planes, rowStep: size, planeStep: 1, rowsPerBatch: groups, channelsPerRow: size }
}

const params = (bindings: number): Param[] => [
  // The struct is the same in all files, with room for the strides of 8 bindings.
  { ...branchStrides(bindings), length: 8 },
  ...scalars(
    'u32',
    'planes',
    'channels',
    'n',
    'rows',
    'planesPerRow',
    'rowStep',
    'planeStep',
    'rowsPerBatch',
    'channelsPerRow',
  ),
  ...scalars('f32', 'eps', 'momentum'),
]

/** The other sizes follow from these. */
const shapeClass = ({ planes, channels, n, rows }: PlaneNorm): number[] => [planes, channels, n, rows]

/** `direct` has a thread for each plane, `workgroup` a workgroup. */
function planeVariants(direct: string, workgroup: string): Variant<PlaneNorm>[] {
  return [
    {
      name: 'direct',
      source: direct,
      constants: ({ planes, n }) => {
        const vector = rowVector(n)
        return { WORKGROUP: threadsFor(planes), LONG: isLong(n / vector.ROW_VEC), ...vector }
      },
      grid: ({ planes }, { WORKGROUP }) => grid1d(ceilDiv(planes, Number(WORKGROUP))),
    },
    {
      name: 'workgroup',
      source: workgroup,
      constants: ({ n }) => groupConstants(n, rowVector(n)),
      grid: ({ planes }) => grid1d(planes),
    },
  ]
}

/** A barrier costs a software device more than idle cores do, and a short plane leaves most of a workgroup idle. */
function choosePlanes(device: Capabilities, { n }: PlaneNorm): string {
  return device.software || n <= 64 ? 'direct' : 'workgroup'
}

/** The variant with a thread for each row of statistics. */
function rowVariant<P extends PlaneNorm>(source: string, more: (problem: P) => Constants = () => ({})): Variant<P> {
  return {
    name: 'direct',
    source,
    constants: (problem) => ({ WORKGROUP: threadsFor(problem.rows), ...more(problem) }),
    grid: ({ rows }, { WORKGROUP }) => grid1d(ceilDiv(rows, Number(WORKGROUP))),
  }
}

/** The variant with a thread for a run of a plane: a long one on a software device, which spends more on starting a thread than on its work. */
function runVariant<P extends PlaneNorm>(source: string, more: (problem: P) => Constants = () => ({})): Variant<P> {
  return {
    name: 'direct',
    source,
    constants: (problem, device) => ({ RUN: device.software ? 64 : 1, ...rowVector(problem.n), ...more(problem) }),
    grid: ({ planes, n }, { RUN, ROW_VEC }): Grid => grid1d(ceilDiv(planes * ceilDiv(n / Number(ROW_VEC), Number(RUN)), 64)),
  }
}

const elements = ({ planes, n }: PlaneNorm) => planes * n

/** moments [planes, 2]: the mean of each plane of x minus the first element of its row, and the sum of squares around the mean. */
export const planeMoments: KernelSpec<PlaneNorm> = {
  name: 'planeMoments',
  bindings: [...reads('f32', 'x'), ...writes('f32', 'moments')],
  params: params(2),
  shapeClass,
  variants: planeVariants(momentsSource, momentsWorkgroupSource),
  choose: choosePlanes,
  flops: (p) => 6 * elements(p),
  bytes: (p) => 4 * elements(p) + 8 * p.planes,
}

export interface RowStatistics extends PlaneNorm {
  /** Whether running statistics follow. */
  running: boolean
}

/**
 * statistics [rows, 4] from x and moments: the first element, the mean minus it, rstd = 1 / sqrt(variance + eps), and 0. rstd is NaN where
 * the variance is beyond float32. Running mean and variance move towards the new ones by `momentum`.
 */
export const rowStatistics: KernelSpec<RowStatistics> = {
  name: 'rowStatistics',
  bindings: [...reads('f32', 'x', 'moments'), ...writes('f32', 'statistics', 'runningMean', 'runningVariance')],
  params: params(5),
  shapeClass,
  variants: [rowVariant(statisticsSource, ({ running }) => ({ RUNNING: running }))],
  flops: ({ planes }) => 5 * planes,
  bytes: ({ planes, rows }) => 8 * planes + 16 * rows,
}

/** statistics [rows, 4] from running ones: the mean, 0, rstd, and 0. */
export const runningStatistics: KernelSpec<PlaneNorm> = {
  name: 'runningStatistics',
  bindings: [...reads('f32', 'runningMean', 'runningVariance'), ...writes('f32', 'statistics')],
  params: params(3),
  shapeClass,
  variants: [rowVariant(runningStatisticsSource)],
  flops: ({ rows }) => 3 * rows,
  bytes: ({ rows }) => 24 * rows,
}

/** y [planes, n] = (x - mean) * rstd * weight [channels] + bias [channels]. */
export const planeNormalize: KernelSpec<PlaneNorm> = {
  name: 'planeNormalize',
  bindings: [...reads('f32', 'x', 'statistics', 'weight', 'bias'), ...writes('f32', 'y')],
  params: params(5),
  shapeClass,
  variants: [runVariant(normalizeSource)],
  flops: (p) => 4 * elements(p),
  bytes: (p) => 8 * elements(p),
}

/** sums [planes, 2]: the sums of dy, and of dy times the normalized x. */
export const planeGradientSums: KernelSpec<PlaneNorm> = {
  name: 'planeGradientSums',
  bindings: [...reads('f32', 'x', 'statistics', 'dy'), ...writes('f32', 'sums')],
  params: params(4),
  shapeClass,
  variants: planeVariants(gradientSumsSource, gradientSumsWorkgroupSource),
  choose: choosePlanes,
  flops: (p) => 5 * elements(p),
  bytes: (p) => 8 * elements(p) + 8 * p.planes,
}

/** means [rows, 2]: the means over a row of dy weight, and of dy weight times the normalized x, from the sums of its planes. */
export const rowGradientMeans: KernelSpec<PlaneNorm> = {
  name: 'rowGradientMeans',
  bindings: [...reads('f32', 'sums', 'weight'), ...writes('f32', 'means')],
  params: params(3),
  shapeClass,
  variants: [rowVariant(gradientMeansSource)],
  flops: ({ planes }) => 4 * planes,
  bytes: ({ planes, rows }) => 8 * planes + 8 * rows,
}

export interface PlaneInputGradient extends PlaneNorm {
  /** Whether mean and rstd are constants, as running ones are; `means` is not read then. */
  fixed: boolean
}

/** dx [planes, n] = rstd * (dy * weight - means[0] - normalized x * means[1]). */
export const planeInputGradient: KernelSpec<PlaneInputGradient> = {
  name: 'planeInputGradient',
  bindings: [...reads('f32', 'x', 'statistics', 'weight', 'means', 'dy'), ...writes('f32', 'dx')],
  params: params(6),
  shapeClass,
  variants: [runVariant(inputGradientSource, ({ fixed }) => ({ FIXED: fixed }))],
  flops: (p) => 6 * elements(p),
  bytes: (p) => 12 * elements(p),
}
