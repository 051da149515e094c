import * as kernels from '../../kernels/reduce/index.ts'
import { toFloat32 } from '../autograd/autocast.ts'
import { defineOp, noGrad } from '../autograd/tape.ts'
import { checkBoolean, checkNoMore } from '../base/checks.ts'
import { refuseHalf } from '../layout/dtype.ts'
import { normalizeDim, type Shape, sizeOf } from '../layout/shape.ts'
import { checkTensor } from '../tensor/arguments.ts'
import { run } from '../tensor/run.ts'
import { empty, type Tensor } from '../tensor/tensor.ts'
import { placeOp } from './byIndex.ts'
import { type ReduceDims, reduceDimsOf, reductionOf } from './reduceDims.ts'
import { reshape } from './shape.ts'

type Name = 'max' | 'min'

/** The kernels of float32 and int32, of the first pass and of the one that combines pieces. */
const KERNELS = {
  max: { float: [kernels.max, kernels.maxCombine], int: [kernels.maxInt, kernels.maxCombineInt] },
  min: { float: [kernels.min, kernels.minCombine], int: [kernels.minInt, kernels.minCombineInt] },
} as const

/** The extrema of a pass, and the int32 indices of the first ones within the reduced dims, both of the pass's output shape. */
function extrema(name: Name, x: Tensor, pass: ReduceDims): { values: Tensor; indices: Tensor } {
  const { device, dtype } = x
  const { reduction, input } = reductionOf(x, pass.start, pass.end)
  const [kernel, combine] = KERNELS[name][dtype === 'float32' ? 'float' : 'int']
  const pair = (shape: Shape) => ({ values: empty(shape, dtype, device), indices: empty(shape, 'int32', device) })
  const result = pair(pass.shape)
  const split = kernels.withChunk(reduction, kernels.splitChunk(device.capabilities, reduction))
  const first = split.chunks === 1 ? result : pair([kernels.outputs(split)])
  run(kernel, split, [input, first.values, first.indices])
  if (first !== result) {
    const { outer, chunks, inner } = split
    run(combine, { outer, chunks, inner }, [first.values, first.indices, result.values, result.indices])
  }
  return result
}

/** The sizes [outer, n, inner] around the reduced dims of a pass. */
function sizesOf({ from, start, end }: ReduceDims): [outer: number, n: number, inner: number] {
  return [sizeOf(from.slice(0, start)), sizeOf(from.slice(start, end)), sizeOf(from.slice(end))]
}

function define(name: Name) {
  const op = defineOp<[Tensor], ReduceDims>({
    name,
    forward(ctx, [x], pass) {
      const { values, indices } = extrema(name, x, pass)
      ctx.saveForBackward(indices)
      return values
    },
    backward(ctx, grad, pass) {
      const dx = ctx.gradOut(0)
      const [outer, n, inner] = sizesOf(pass)
      run(kernels.maxBackward, { outer, n, inner }, [ctx.saved[0]!, grad.contiguous(), dx])
      return [dx]
    },
    differentiableBackward(ctx, grad, pass) {
      const [outer, n, inner] = sizesOf(pass)
      const indices = reshape(ctx.saved[0]!, [outer, 1, inner])
      const placed = placeOp([reshape(grad, [outer, 1, inner]), indices], { dim: 1, shape: [outer, n, inner] })
      return [reshape(placed, pass.from)]
    },
  })
  return (x: Tensor, dim?: number | readonly number[], keepdim = false, ...extra: []): Tensor => {
    checkTensor(name, x)
    checkBoolean(name, keepdim, 'keepdim')
    checkNoMore(name, extra)
    const input = toFloat32(x)
    refuseHalf(name, input)
    return reduceDimsOf(name, x.shape, dim, keepdim).reduce((reduced, pass) => op([reduced], pass), input)
  }
}

/**
 * Finds the maximum over one or more dims. It is NaN if an element is. The first of equal maxima, or the first NaN, gets the whole gradient.
 * @param x float32 or int32, any shape; inside `autocast` float16 too
 * @param dim a dim or a list of dims; by default all. Negative numbers count back
 * @param keepdim whether reduced dims stay, with size 1
 * @throws ShapeError for float16, a dim that x does not have, or one named twice
 */
export const max = define('max')

/** Finds the minimum over one or more dims; otherwise as `max`. @throws ShapeError as `max` */
export const min = define('min')

function defineIndex(name: 'argmax' | 'argmin') {
  const op = defineOp<[Tensor], ReduceDims>({
    name,
    forward: (_ctx, [x], pass) => extrema(name === 'argmax' ? 'max' : 'min', x, pass).indices,
  })
  return (x: Tensor, dim?: number, keepdim = false, ...extra: []): Tensor => {
    checkTensor(name, x)
    checkBoolean(name, keepdim, 'keepdim')
    checkNoMore(name, extra)
    const input = toFloat32(x)
    refuseHalf(name, input)
    // Only along a single dim is there an index, so a list of dims is refused.
    if (dim !== undefined) normalizeDim(name, dim, Math.max(x.ndim, 1))
    const whole: ReduceDims = { from: x.shape, start: 0, end: x.ndim, shape: keepdim ? x.shape.map(() => 1) : [] }
    return noGrad(() => op([input], dim === undefined ? whole : reduceDimsOf(name, x.shape, dim, keepdim)[0]!))
  }
}

/**
 * Finds the int32 index of the first maximum, or of the first NaN if there is one. No gradient flows.
 * @param x float32 or int32, any shape; inside `autocast` float16 too
 * @param dim the dim that the index is along; by default it is the row-major index among all elements. Negative numbers count back
 * @param keepdim whether the reduced dims stay, with size 1
 * @throws ShapeError for float16, or a dim that x does not have
 */
export const argmax = defineIndex('argmax')

/** Finds the int32 index of the first minimum, or of the first NaN if there is one; otherwise as `argmax`. @throws ShapeError as `argmax` */
export const argmin = defineIndex('argmin')
