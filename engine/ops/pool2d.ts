import * as kernels from '../../kernels/pool2d/index.ts'
import { defineOp } from '../autograd/tape.ts'
import { checkNoMore } from '../base/checks.ts'
import { ArgumentError, ShapeError } from '../base/errors.ts'
import { checkOptions, type OptionNames } from '../base/options.ts'
import { isFloat } from '../layout/dtype.ts'
import { format } from '../layout/shape.ts'
import { checkTensor, mismatch } from '../tensor/arguments.ts'
import { run } from '../tensor/run.ts'
import { operand } from '../tensor/strided.ts'
import { empty, type Tensor } from '../tensor/tensor.ts'
import { checkPair, type PairOption } from './pairs.ts'

export interface PoolOptions {
  /** The distance of neighbouring windows, by row and column or in both; by default the size of a window. */
  stride?: PairOption
  /** How far windows begin outside of x, at most half of their size; default 0. */
  padding?: PairOption
}

const OPTIONS: OptionNames<PoolOptions> = { stride: true, padding: true }

interface Arguments {
  pool: kernels.Pool2d
  batch: number
}

function outputShape({ pool, batch }: Arguments): number[] {
  return [batch, pool.channels, pool.outHeight, pool.outWidth]
}

/** The problem with x where it lies, which is bound from an aligned element on. */
function placed(pool: kernels.Pool2d, x: Tensor) {
  const { layout, bound } = operand(x)
  const [xN, xC, xY, xX] = layout.strides as [number, number, number, number]
  return { bound, pool: { ...pool, xOffset: layout.offset, xN, xC, xY, xX } }
}

const maxOp = defineOp<[Tensor], Arguments>({
  name: 'maxPool2d',
  forward(ctx, [x], args) {
    const { bound, pool } = placed(args.pool, x)
    const y = empty(outputShape(args), x.dtype, x.device)
    const wanted = ctx.needs[0]!
    const indices = empty(wanted ? y.shape : [1], 'int32', x.device)
    run(kernels.maxPool2d, { ...pool, indices: wanted }, [bound, y, indices])
    ctx.saveForBackward(indices)
    return y
  },
  backward(ctx, grad, { pool }) {
    const dx = ctx.gradOut(0)
    run(kernels.maxPool2dBackward, pool, [grad.contiguous(), ctx.saved[0]!, dx])
    return [dx]
  },
  differentiableBackward: (ctx, grad, args) => [unpool([grad, ctx.saved[0]!], args)],
})

/** The gradient of max pooling as an op of grad. */
const unpool: (inputs: [grad: Tensor, indices: Tensor], args: Arguments) => Tensor = defineOp({
  name: 'maxPool2dInput',
  forward(ctx, [grad, indices], { pool, batch }) {
    const dx = empty([batch, pool.channels, pool.height, pool.width], grad.dtype, grad.device)
    run(kernels.maxPool2dBackward, pool, [grad.contiguous(), indices, dx])
    ctx.saveForBackward(indices)
    return dx
  },
  backward(ctx, cotangent, { pool }) {
    const dgrad = ctx.gradOut(0)
    run(kernels.poolGather, pool, [cotangent.contiguous(), ctx.saved[0]!, dgrad])
    return [dgrad, undefined]
  },
})

const averageOp = defineOp<[Tensor], Arguments>({
  name: 'avgPool2d',
  forward(_ctx, [x], args) {
    const { bound, pool } = placed(args.pool, x)
    const y = empty(outputShape(args), x.dtype, x.device)
    run(kernels.averagePool2d, pool, [bound, y])
    return y
  },
  backward(ctx, grad, { pool }) {
    const dx = ctx.gradOut(0)
    run(kernels.averagePool2dBackward, pool, [grad.contiguous(), dx])
    return [dx]
  },
  differentiableBackward: (_ctx, grad, args) => [averageBack([grad], args)],
})

/** The gradient of average pooling as an op of grad. */
const averageBack: (inputs: [grad: Tensor], args: Arguments) => Tensor = defineOp({
  name: 'avgPool2dInput',
  forward(_ctx, [grad], { pool, batch }) {
    const dx = empty([batch, pool.channels, pool.height, pool.width], grad.dtype, grad.device)
    run(kernels.averagePool2dBackward, pool, [grad.contiguous(), dx])
    return dx
  },
  backward(ctx, cotangent, args) {
    const { bound, pool } = placed(args.pool, cotangent)
    const dgrad = ctx.gradOut(0)
    run(kernels.averagePool2d, pool, [bound, dgrad])
    return [dgrad]
  },
  differentiableBackward: (_ctx, cotangent, args) => [averageOp([cotangent], args)],
})

/** Checks the arguments of a pooling op, and gives its problem. */
function argumentsOf(name: string, x: Tensor, size: PairOption, options: PoolOptions, extra: []): Arguments {
  checkTensor(name, x)
  const [sizeY, sizeX] = checkPair(name, size, 'size')
  checkOptions(name, options, OPTIONS)
  checkNoMore(name, extra)
  const [strideY, strideX] = checkPair(name, options.stride ?? [sizeY, sizeX], 'stride')
  const [padY, padX] = checkPair(name, options.padding ?? 0, 'padding', 0)
  if (!isFloat(x.dtype) || x.ndim !== 4) throw mismatch(name, [x], '[B, C, H, W], float32 or float16')
  if (padY * 2 > sizeY || padX * 2 > sizeX) {
    throw new ArgumentError(
      `${name}: got padding ${format([padY, padX])}, takes at most half of the size ${format([sizeY, sizeX])}`,
    )
  }
  const [batch, channels, height, width] = x.shape as [number, number, number, number]
  const outHeight = Math.floor((height + 2 * padY - sizeY) / strideY) + 1
  const outWidth = Math.floor((width + 2 * padX - sizeX) / strideX) + 1
  if (outHeight < 1 || outWidth < 1) {
    throw new ShapeError(`${name}: a window ${format([sizeY, sizeX])} is larger than x ${format(x.shape)} with its padding`)
  }
  const windows = { sizeY, sizeX, strideY, strideX, padY, padX }
  const sizes = { planes: batch * channels, channels, height, width, outHeight, outWidth }
  const place = { xOffset: 0, xN: 0, xC: 0, xY: 0, xX: 0 }
  const half = x.dtype === 'float16' ? { dtype: 'f16' as const } : {}
  return { pool: { ...sizes, ...windows, ...place, ...half }, batch }
}

/**
 * Finds the largest element of each window. A window with NaN gives NaN, what lies outside of x counts as -Infinity, and the first of equal
 * elements gets the gradient. Views are read where they lie.
 * @param x [B, C, H, W], float32 or float16
 * @param size the size of the windows, a whole number or [rows, columns]
 * @returns [B, C, (H + 2 padding - size) / stride + 1 rounded down, …]
 * @throws ShapeError for other dtypes or shapes, or windows larger than the padded x; ArgumentError for other options
 */
export function maxPool2d(x: Tensor, size: PairOption, options: PoolOptions = {}, ...extra: []): Tensor {
  const args = argumentsOf('maxPool2d', x, size, options, extra)
  return maxOp([x], args)
}

/**
 * Averages each window. Elements outside of x are zeros that count, as with PyTorch's default `count_include_pad`: every sum is divided by the
 * size of a window. Views are read where they lie, and sums accumulate in float32.
 * @param x [B, C, H, W], float32 or float16
 * @param size the size of the windows, a whole number or [rows, columns]
 * @returns [B, C, (H + 2 padding - size) / stride + 1 rounded down, …]
 * @throws ShapeError for other dtypes or shapes, or windows larger than the padded x; ArgumentError for other options
 */
export function avgPool2d(x: Tensor, size: PairOption, options: PoolOptions = {}, ...extra: []): Tensor {
  const args = argumentsOf('avgPool2d', x, size, options, extra)
  return averageOp([x], args)
}
