// How a convolution and its gradients become problems of the one kernel.
import type { Conv2d } from './problem.ts'

/** A convolution of x [batch, groups * channels, height, width] with weight [groups * outputs, channels, kernel[0], kernel[1]]. */
export interface Convolution {
  batch: number
  groups: number
  /** The input channels and the output channels of one group. */
  channels: number
  outputs: number
  /** The sizes of image, kernel and output by row and column, and how the kernel moves. */
  image: Pair
  kernel: Pair
  output: Pair
  stride: Pair
  padding: Pair
  dilation: Pair
}

export type Pair = readonly [rows: number, columns: number]

/** Where a tensor of 4 dims lies: its first element and its strides. */
export interface Lies {
  offset: number
  strides: readonly number[]
}

export type Problem = Omit<Conv2d, 'splits' | 'chunk' | 'cSplit' | 'biased' | 'dtypes'>

/** The problem of y [batch, groups * outputs, ...output] = the convolution. y is contiguous. */
export function forwardProblem(conv: Convolution, x: Lies, weight: Lies): Problem {
  const { batch, groups, channels, outputs, image, kernel, output, stride, padding, dilation } = conv
  const pixels = output[0] * output[1]
  return {
    groups,
    rows: outputs,
    columns: batch * pixels,
    depth: channels * kernel[0] * kernel[1],
    ...indices(kernel, output),
    ...operandA(weight, [outputs * weight.strides[0]!, ...weight.strides] as const),
    xOffset: x.offset,
    xGroup: channels * x.strides[1]!,
    xDepth: x.strides[1]!,
    xColumn: x.strides[0]!,
    ...picture(x, image, [-padding[0], -padding[1]], dilation, stride),
    cOffset: 0,
    cGroup: outputs * pixels,
    cRow: pixels,
    cN: groups * outputs * pixels,
    cY: output[1],
    cX: 1,
  }
}

/**
 * The problems whose results together make the gradient of x, which is contiguous. Each computes the pixels that lie `stride` apart, since
 * the same elements of the kernel reach them.
 */
export function inputGradientProblems(conv: Convolution, weight: Lies, grad: Lies): Problem[] {
  const phases = [0, 1].map((d) => phasesOf(conv, d as 0 | 1))
  return phases[0]!.flatMap((row) => phases[1]!.map((column) => phaseProblem(conv, weight, grad, row, column)))
}

/** The pixels `first + stride * i` of one dim, and the elements `tap + tapStep * t` of the kernel that reach them. */
interface Phase {
  first: number
  pixels: number
  tap: number
  tapStep: number
  taps: number
  /** The output that element `tap` of the kernel takes to the first pixel, and the step of outputs from tap to tap. */
  start: number
  step: number
}

function phasesOf({ image, kernel, stride, padding, dilation }: Convolution, d: 0 | 1): Phase[] {
  const [s, size] = [stride[d], kernel[d]]
  let tapStep = 1
  while ((tapStep * dilation[d]) % s !== 0) tapStep++
  return Array.from({ length: Math.min(s, image[d]) }, (_, first) => {
    let tap = 0
    while (tap < tapStep && (first + padding[d] - tap * dilation[d]) % s !== 0) tap++
    // No element of the kernel may reach these pixels.
    const taps = tap === tapStep || tap >= size ? 0 : Math.ceil((size - tap) / tapStep)
    const start = taps === 0 ? 0 : (first + padding[d] - tap * dilation[d]) / s
    const step = -(tapStep * dilation[d]) / s
    return { first, pixels: Math.ceil((image[d] - first) / s), tap: taps === 0 ? 0 : tap, tapStep, taps, start, step }
  })
}

function phaseProblem(conv: Convolution, weight: Lies, grad: Lies, row: Phase, column: Phase): Problem {
  const { batch, groups, channels, outputs, image, output, stride } = conv
  const [wOut, wIn, wY, wX] = weight.strides as [number, number, number, number]
  const taps = row.taps * column.taps
  const place = { offset: weight.offset + row.tap * wY + column.tap * wX, strides: weight.strides }
  const pixels = image[0] * image[1]
  return {
    groups,
    rows: channels,
    columns: batch * row.pixels * column.pixels,
    depth: outputs * taps,
    ...indices([Math.max(row.taps, 1), Math.max(column.taps, 1)], [row.pixels, column.pixels]),
    ...operandA(place, [outputs * wOut, wIn, wOut, row.tapStep * wY, column.tapStep * wX]),
    xOffset: grad.offset,
    xGroup: outputs * grad.strides[1]!,
    xDepth: grad.strides[1]!,
    xColumn: grad.strides[0]!,
    ...picture(grad, output, [row.start, column.start], [row.step, column.step], [1, 1]),
    cOffset: row.first * image[1] + column.first,
    cGroup: channels * pixels,
    cRow: pixels,
    cN: groups * channels * pixels,
    cY: stride[0] * image[1],
    cX: stride[1],
  }
}

/** The problem of the gradient of weight, which is contiguous. */
export function weightGradientProblem(conv: Convolution, x: Lies, grad: Lies): Problem {
  const { batch, groups, channels, outputs, image, kernel, output, stride, padding, dilation } = conv
  const taps = kernel[0] * kernel[1]
  const [gN, gO, gY, gX] = grad.strides as [number, number, number, number]
  return {
    groups,
    rows: outputs,
    columns: channels * taps,
    depth: batch * output[0] * output[1],
    ...indices(output, kernel),
    ...operandA(grad, [outputs * gO, gO, gN, gY, gX]),
    xOffset: x.offset,
    xGroup: channels * x.strides[1]!,
    xDepth: x.strides[0]!,
    xColumn: x.strides[1]!,
    ...picture(x, image, [-padding[0], -padding[1]], stride, dilation),
    cOffset: 0,
    cGroup: outputs * channels * taps,
    cRow: channels * taps,
    cN: taps,
    cY: kernel[1],
    cX: 1,
  }
}

function indices(depth: Pair, column: Pair) {
  return { depthHeight: depth[0], depthWidth: depth[1], columnHeight: column[0], columnWidth: column[1] }
}

function operandA({ offset }: Lies, strides: readonly number[]) {
  const [aGroup, aRow, aN, aY, aX] = strides as [number, number, number, number, number]
  return { aOffset: offset, aGroup, aRow, aN, aY, aX }
}

function picture({ strides }: Lies, [height, width]: Pair, start: Pair, depth: Pair, column: Pair) {
  const [, , xY, xX] = strides as [number, number, number, number]
  return {
    xY,
    xX,
    height,
    width,
    y0: start[0],
    x0: start[1],
    yDepth: depth[0],
    yColumn: column[0],
    xStepDepth: depth[1],
    xStepColumn: column[1],
  }
}
