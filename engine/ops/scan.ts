import type { AxisView } from '../../kernels/axisView.ts'
import * as kernels from '../../kernels/scan/index.ts'
import { castDetached } from '../autograd/cast.ts'
import { defineOp, noGrad } from '../autograd/tape.ts'
import { checkNoMore } from '../base/checks.ts'
import { normalizeDim } from '../layout/shape.ts'
import { checkTensor } from '../tensor/arguments.ts'
import { copyInto } from '../tensor/copies.ts'
import { run } from '../tensor/run.ts'
import { empty, type Tensor } from '../tensor/tensor.ts'
import { gatherOp } from './byIndex.ts'
import { axisViewOf } from './reduceDims.ts'

/** x as the kernels take it: contiguous, and float32 in place of float16. */
function operandOf(x: Tensor): Tensor {
  return castDetached(x, x.dtype === 'float16' ? 'float32' : x.dtype).contiguous()
}

const typeOf = ({ dtype }: Tensor) => (dtype === 'int32' ? 'i32' : 'f32')

const cumprodOp = defineOp<[Tensor], AxisView>({
  name: 'cumprod',
  forward(ctx, [input], axis) {
    const x = operandOf(input)
    const y = empty(x.shape, x.dtype, x.device)
    run(kernels.cumprod, { ...axis, dtype: typeOf(x) }, [x, y])
    ctx.saveForBackward(x)
    return castDetached(y, input.dtype)
  },
  backward(ctx, grad, axis) {
    const dx = ctx.gradOut(0)
    const target = dx.dtype === 'float32' ? dx : empty(dx.shape, 'float32', dx.device)
    run(kernels.cumprodBackward, axis, [ctx.saved[0]!, operandOf(grad), target])
    if (target !== dx) copyInto(target, dx)
    return [dx]
  },
})

/**
 * The running product along a dim: y[j] = x[0] * … * x[j]. Its gradient is right where elements are 0, too. It has no second derivative.
 * @param x float32, float16 (which computes in float32) or int32 (which wraps around), any shape
 * @param dim negative numbers count back
 * @returns a tensor of the shape and dtype of x
 * @throws ShapeError for a dim that x does not have
 */
export function cumprod(x: Tensor, dim: number, ...extra: []): Tensor {
  checkTensor('cumprod', x)
  checkNoMore('cumprod', extra)
  return cumprodOp([x], axisViewOf('cumprod', x.shape, dim))
}

const indicesOp = defineOp<[Tensor], AxisView>({
  name: 'cummax',
  forward(_ctx, [input], axis) {
    const x = operandOf(input)
    const indices = empty(x.shape, 'int32', x.device)
    run(kernels.cummax, { ...axis, dtype: typeOf(x) }, [x, indices])
    return indices
  },
})

/**
 * The running maximum along a dim: y[j] is the largest of x[0] to x[j], and NaN from the first NaN on. Of equal ones the last gets the gradient,
 * as in PyTorch.
 * @param x any shape and dtype
 * @param dim negative numbers count back
 * @returns a tensor of the shape and dtype of x
 * @throws ShapeError for a dim that x does not have
 */
export function cummax(x: Tensor, dim: number, ...extra: []): Tensor {
  checkTensor('cummax', x)
  checkNoMore('cummax', extra)
  const indices = noGrad(() => indicesOp([x], axisViewOf('cummax', x.shape, dim)))
  const axis = normalizeDim('cummax', dim, Math.max(x.ndim, 1))
  return gatherOp([x, indices], { dim: axis, shape: x.shape, unique: false })
}
