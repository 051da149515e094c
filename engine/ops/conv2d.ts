import type { Convolution, Pair } from '../../kernels/conv2d/index.ts'
import { castCached, computeDtype } from '../autograd/autocast.ts'
import { cast, castDetached } from '../autograd/cast.ts'
import { type DifferentiableContext, defineOp } from '../autograd/tape.ts'
import { checkNoMore, checkWhole } from '../base/checks.ts'
import { ShapeError } from '../base/errors.ts'
import { checkOptions, type OptionNames } from '../base/options.ts'
import { type Dtype, isFloat } from '../layout/dtype.ts'
import { format } from '../layout/shape.ts'
import { checkOptionalTensor, checkTensor, mismatch } from '../tensor/arguments.ts'
import { empty, type Tensor } from '../tensor/tensor.ts'
import { convolve, convolveBack, correlate } from './convolution.ts'
import { checkPair, type PairOption } from './pairs.ts'
import { reshape, sumTo } from './shape.ts'

export interface Conv2dOptions {
  /** The distance of neighbouring outputs in x, by row and column or in both; default 1. */
  stride?: PairOption
  /** The rows and columns of zeros on each side of x; default 0. */
  padding?: PairOption
  /** The distance in x of neighbouring elements of the kernel; default 1. */
  dilation?: PairOption
  /** The groups into which the channels are divided; outputs of a group see the inputs of theirs alone. Default 1. */
  groups?: number
}

const OPTIONS: OptionNames<Conv2dOptions> = { stride: true, padding: true, dilation: true, groups: true }

interface Arguments {
  conv: Convolution
  /** The dtype in which x and weight are read. */
  compute: Dtype
  bias: Dtype | undefined
}

const op = defineOp<[x: Tensor, weight: Tensor, bias: Tensor | undefined], Arguments>({
  name: 'conv2d',
  forward(ctx, inputs, { conv, compute }) {
    const [x, weight] = [castCached(inputs[0], compute), castCached(inputs[1], compute)]
    const out = empty(outputShape(conv), compute, x.device)
    convolve(out, x, weight, inputs[2], conv)
    ctx.saveForBackward(ctx.needs[1] ? x : undefined, ctx.needs[0] ? weight : undefined)
    return out
  },
  backward(ctx, grad, { conv, bias }) {
    const [x, weight] = ctx.saved as [Tensor?, Tensor?]
    const [dx, dweight] = [ctx.needs[0] ? ctx.gradOut(0) : undefined, ctx.needs[1] ? ctx.gradOut(1) : undefined]
    if (dx) convolveBack(dx, weight!, grad, conv)
    if (dweight) correlate(dweight, x!, grad, conv)
    return [dx, dweight, ctx.needs[2] ? castDetached(biasGradient(castDetached(grad, 'float32')), bias!) : undefined]
  },
  differentiableBackward: (ctx, grad, { conv, compute, bias }) => [
    ctx.needs[0] ? inputGradient(ctx, 1, grad, conv, compute) : undefined,
    ctx.needs[1] ? weightGradient(ctx, 0, grad, conv, compute) : undefined,
    ctx.needs[2] ? cast(biasGradient(cast(grad, 'float32')), bias!) : undefined,
  ],
})

type Bilinear = (inputs: [a: Tensor, b: Tensor], args: Arguments) => Tensor

/** The gradient of x as an op of weight and grad; all three are linear in each operand, so each is a gradient of the others. */
const inputOp: Bilinear = defineOp<[Tensor, Tensor], Arguments>({
  name: 'conv2dInput',
  forward(ctx, [weight, grad], { conv, compute }) {
    const dx = empty(inputShape(conv), compute, grad.device)
    convolveBack(dx, weight, grad, conv)
    ctx.saveForBackward(ctx.needs[1] ? weight : undefined, ctx.needs[0] ? grad : undefined)
    return dx
  },
  backward(ctx, cotangent, { conv }) {
    const [weight, grad] = ctx.saved as [Tensor?, Tensor?]
    const [dweight, dgrad] = [ctx.needs[0] ? ctx.gradOut(0) : undefined, ctx.needs[1] ? ctx.gradOut(1) : undefined]
    if (dweight) correlate(dweight, cotangent, grad!, conv)
    if (dgrad) convolve(dgrad, cotangent, weight!, undefined, conv)
    return [dweight, dgrad]
  },
  differentiableBackward: (ctx, cotangent, args) => [
    ctx.needs[0] ? weightOp([cotangent, ctx.input(1)], args) : undefined,
    ctx.needs[1] ? op([cotangent, ctx.input(0), undefined], args) : undefined,
  ],
})

/** The gradient of weight as an op of x and grad. */
const weightOp: Bilinear = defineOp<[Tensor, Tensor], Arguments>({
  name: 'conv2dWeight',
  forward(ctx, [x, grad], { conv, compute }) {
    const dweight = empty(weightShape(conv), compute, grad.device)
    correlate(dweight, x, grad, conv)
    ctx.saveForBackward(ctx.needs[1] ? x : undefined, ctx.needs[0] ? grad : undefined)
    return dweight
  },
  backward(ctx, cotangent, { conv }) {
    const [x, grad] = ctx.saved as [Tensor?, Tensor?]
    const [dx, dgrad] = [ctx.needs[0] ? ctx.gradOut(0) : undefined, ctx.needs[1] ? ctx.gradOut(1) : undefined]
    if (dx) convolveBack(dx, cotangent, grad!, conv)
    if (dgrad) convolve(dgrad, x!, cotangent, undefined, conv)
    return [dx, dgrad]
  },
  differentiableBackward: (ctx, cotangent, args) => [
    ctx.needs[0] ? inputOp([cotangent, ctx.input(1)], args) : undefined,
    ctx.needs[1] ? op([ctx.input(0), cotangent, undefined], args) : undefined,
  ],
})

function inputGradient(ctx: DifferentiableContext, i: number, grad: Tensor, conv: Convolution, compute: Dtype): Tensor {
  const weight = ctx.input(i)
  return inputOp([cast(weight, compute), grad], { conv, compute, bias: undefined })
}

function weightGradient(ctx: DifferentiableContext, i: number, grad: Tensor, conv: Convolution, compute: Dtype): Tensor {
  const x = ctx.input(i)
  return weightOp([cast(x, compute), grad], { conv, compute, bias: undefined })
}

/** Sums the gradient of y [B, O, Ho, Wo] over all but the channels. */
function biasGradient(grad: Tensor): Tensor {
  const outputs = grad.shape[1]!
  return reshape(sumTo(grad, [outputs, 1, 1]), [outputs])
}

function inputShape({ batch, groups, channels, image }: Convolution): number[] {
  return [batch, groups * channels, ...image]
}

function weightShape({ groups, channels, outputs, kernel }: Convolution): number[] {
  return [groups * outputs, channels, ...kernel]
}

function outputShape({ batch, groups, outputs, output }: Convolution): number[] {
  return [batch, groups * outputs, ...output]
}

/**
 * The convolution of neural networks (a cross-correlation, as in PyTorch), as an implicit matrix product (cuDNN, arXiv 1410.0759): no patches
 * are stored. Element [b, o, i, j] is bias[o] plus the sum over c, ki, kj of weight[o, c, ki, kj] x[b, c, i stride - padding + ki dilation, …],
 * where x is 0 outside. Views are read where they lie. Sums accumulate in float32.
 * @param x [B, C, H, W], float32 or float16
 * @param weight [O, C / groups, Kh, Kw], of the dtype of x; inside `autocast` x and weight are cast to its dtype
 * @param bias [O], float32 or float16
 * @param options.stride a whole number, or [rows, columns]
 * @param options.padding a whole number, or [rows, columns]
 * @param options.dilation a whole number, or [rows, columns]
 * @param options.groups a divisor of C and O
 * @returns [B, O, (H + 2 padding - dilation (Kh - 1) - 1) / stride + 1 rounded down, …]
 * @throws ShapeError for other dtypes, shapes that do not fit, or a kernel larger than the padded x; ArgumentError for other options
 */
export function conv2d(x: Tensor, weight: Tensor, bias?: Tensor, options: Conv2dOptions = {}, ...extra: []): Tensor {
  checkTensor('conv2d', x)
  checkTensor('conv2d', weight, 'weight')
  checkOptionalTensor('conv2d', bias, 'bias')
  checkOptions('conv2d', options, OPTIONS)
  checkNoMore('conv2d', extra)
  const stride = checkPair('conv2d', options.stride ?? 1, 'stride')
  const padding = checkPair('conv2d', options.padding ?? 0, 'padding', 0)
  const dilation = checkPair('conv2d', options.dilation ?? 1, 'dilation')
  const groups = options.groups ?? 1
  checkWhole('conv2d', groups, 'groups')
  const compute = computeDtype([x, weight])
  const [batch, inputs, ...image] = x.shape as [number, number, number, number]
  const [outputs, channels, ...kernel] = weight.shape as [number, number, number, number]
  const ranks = x.ndim === 4 && weight.ndim === 4 && (!bias || (isFloat(bias.dtype) && format(bias.shape) === `[${outputs}]`))
  if (!compute || !ranks || inputs !== channels * groups || outputs % groups !== 0) {
    const by = groups > 1 ? ` with ${groups} groups` : ''
    const takes = `[B, C, H, W], [O, C / groups, Kh, Kw] of one dtype, float32 or float16, and [O]${by}`
    throw mismatch('conv2d', [x, weight, bias], takes)
  }
  const output = outputSize(image, kernel, stride, padding, dilation)
  if (output.some((size) => size < 1)) {
    const reach = kernel.map((size, d) => dilation[d]! * (size - 1) + 1)
    throw new ShapeError(
      `conv2d: a kernel that reaches over ${format(reach)} is larger than x ${format(x.shape)} with its padding`,
    )
  }
  const sizes = { batch, groups, channels, outputs: outputs / groups, image, kernel, output, stride, padding, dilation }
  return op([x, weight, bias], { conv: sizes, compute, bias: bias?.dtype })
}

function outputSize(image: Pair, kernel: Pair, stride: Pair, padding: Pair, dilation: Pair): Pair {
  const size = (d: 0 | 1) => Math.floor((image[d] + 2 * padding[d] - dilation[d] * (kernel[d] - 1) - 1) / stride[d]) + 1
  return [size(0), size(1)]
}
