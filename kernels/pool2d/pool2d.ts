import {
  branchStrides,
  type Constants,
  ceilDiv,
  type Grid,
  grid1d,
  type KernelSpec,
  type Param,
  reads,
  SCALAR_BYTES,
  type Scalar,
  scalars,
  type Variant,
  writes,
} from '../spec.ts'
import averageSource from './average.wgsl'
import averageBackwardSource from './averageBackward.wgsl'
import gatherSource from './gather.wgsl'
import maxSource from './max.wgsl'
import maxBackwardSource from './maxBackward.wgsl'

/** Windows of [sizeY, sizeX] that move by [strideY, strideX] over planes of [height, width], which begin `padY` and `padX` outside. */
export interface Pool2d {
  /** The planes, batch times channels, and the channels. */
  planes: number
  channels: number
  height: number
  width: number
  outHeight: number
  outWidth: number
  sizeY: number
  sizeX: number
  strideY: number
  strideX: number
  padY: number
  padX: number
  /** Where an element of x lies; kernels on contiguous tensors do not read it. */
  xOffset: number
  xN: number
  xC: number
  xY: number
  xX: number
  /** float16 where x, y and their gradients are. */
  dtype?: 'f16'
}

export interface MaxPool2d extends Pool2d {
  /** Whether the places of the maxima are wanted. */
  indices: boolean
}

const params: readonly Param[] = scalars(
  'u32',
  ...['planes', 'channels', 'height', 'width', 'outHeight', 'outWidth', 'sizeY', 'sizeX', 'strideY', 'strideX', 'padY', 'padX'],
  ...['xOffset', 'xN', 'xC', 'xY', 'xX'],
)

const dtype = ({ dtype }: Pool2d): Scalar => dtype ?? 'f32'

/** The threads of a workgroup. */
const THREADS = 64

/** A thread for a run of neighbours along a row: many on a software device, which spends more on starting a thread than on its work. */
function rowRuns(source: string, columns: (problem: any) => [lines: number, width: number], more: (problem: any) => Constants) {
  const variant: Variant<any> = {
    name: 'direct',
    source,
    constants: (problem: Pool2d, device) => ({
      ...more(problem),
      RUN: device.software ? 32 : 1,
      ...(problem.dtype && { Scalar: problem.dtype }),
    }),
    grid: (problem, { RUN }): Grid => {
      const [lines, width] = columns(problem)
      return grid1d(ceilDiv(lines * ceilDiv(width, Number(RUN)), THREADS))
    },
  }
  return variant
}

const outputs = (p: Pool2d): [number, number] => [p.planes * p.outHeight, p.outWidth]
const inputs = (p: Pool2d): [number, number] => [p.planes * p.height, p.width]

const bytes = (p: Pool2d) => SCALAR_BYTES[dtype(p)] * p.planes * (p.height * p.width + p.outHeight * p.outWidth)
const flops = (p: Pool2d) => p.planes * p.outHeight * p.outWidth * p.sizeY * p.sizeX

/** The longest chain of additions that is not cut. */
const LONG_CHAIN = 48

const shapeClass = ({ planes, outHeight, outWidth, sizeY, sizeX, strideY, strideX }: Pool2d): number[] => {
  return [planes, outHeight, outWidth, sizeY, sizeX, strideY, strideX]
}

/**
 * y [planes, outHeight, outWidth] = the largest element of each window of x, NaN where there is one. `indices` gives its place in the plane,
 * y * width + x: the first of equal ones, the last NaN.
 */
export const maxPool2d: KernelSpec<MaxPool2d> = {
  name: 'maxPool2d',
  bindings: [{ name: 'x', access: 'read', dtype, offset: 'xOffset' }, ...writes(dtype, 'y'), ...writes('i32', 'indices')],
  params: [branchStrides(3), ...params],
  shapeClass,
  variants: [rowRuns(maxSource, outputs, ({ indices }) => ({ INDICES: indices }))],
  flops,
  bytes,
}

/** dx [planes, height, width]: each gradient of dy goes to the element that `indices` names. */
export const maxPool2dBackward: KernelSpec<Pool2d> = {
  name: 'maxPool2dBackward',
  bindings: [...reads(dtype, 'dy'), ...reads('i32', 'indices'), ...writes(dtype, 'dx')],
  params: [branchStrides(3), ...params],
  shapeClass,
  variants: [rowRuns(maxBackwardSource, inputs, backwardSums)],
  flops,
  bytes,
}

/** y [planes, outHeight, outWidth] = the element of x [planes, height, width] that `indices` names. */
export const poolGather: KernelSpec<Pool2d> = {
  name: 'poolGather',
  bindings: [...reads(dtype, 'x'), ...reads('i32', 'indices'), ...writes(dtype, 'y')],
  params: [branchStrides(3), ...params],
  shapeClass,
  variants: [rowRuns(gatherSource, outputs, () => ({}))],
  flops: () => 0,
  bytes,
}

/** y [planes, outHeight, outWidth] = the sum of each window of x, which is 0 outside, over the size of the window. */
export const averagePool2d: KernelSpec<Pool2d> = {
  name: 'averagePool2d',
  bindings: [{ name: 'x', access: 'read', dtype, offset: 'xOffset' }, ...writes(dtype, 'y')],
  params: [branchStrides(2), ...params],
  shapeClass,
  variants: [rowRuns(averageSource, outputs, ({ sizeY, sizeX }) => ({ LONG: sizeY * sizeX > LONG_CHAIN }))],
  flops,
  bytes,
}

/** dx [planes, height, width] = the sum of dy over the windows that hold the element, over the size of a window. */
export const averagePool2dBackward: KernelSpec<Pool2d> = {
  name: 'averagePool2dBackward',
  bindings: [...reads(dtype, 'dy'), ...writes(dtype, 'dx')],
  params: [branchStrides(2), ...params],
  shapeClass,
  variants: [rowRuns(averageBackwardSource, inputs, backwardSums)],
  flops,
  bytes,
}

/** Whether so many windows hold an element that their sum is cut. */
function backwardSums({ sizeY, sizeX, strideY, strideX }: Pool2d): Constants {
  return { LONG: ceilDiv(sizeY, strideY) * ceilDiv(sizeX, strideX) > LONG_CHAIN }
}
