import { castCached, computeDtype } from '../autograd/autocast.ts'
import { defineOp, type OpContext } from '../autograd/tape.ts'
import { checkNoMore } from '../base/checks.ts'
import type { Dtype } from '../layout/dtype.ts'
import { broadcastShapes, format, type Shape } from '../layout/shape.ts'
import { checkTensor, mismatch } from '../tensor/arguments.ts'
import { empty, type Tensor, view } from '../tensor/tensor.ts'
import { asRows, gemm, shaped, transposed } from './gemm.ts'
import { reshape, sumTo, sumToInput, transpose } from './shape.ts'

/** The shape of a product [...batch, m, n], where vectors count as matrices of one row or column. */
interface Product {
  batch: Shape
  m: number
  n: number
  /** The dtype of the operands and of the product. */
  dtype: Dtype
  /** The dtypes and shapes of the inputs, and so of their gradients. */
  dtypes: readonly [Dtype, Dtype]
  shapes: readonly [Shape, Shape]
}

const op = defineOp<[a: Tensor, b: Tensor], Product>({
  name: 'matmul',
  forward(ctx, inputs, { batch, m, n, dtype }) {
    const [a, b] = inputs.map((t) => castCached(t, dtype)) as [Tensor, Tensor]
    const out = empty([...batch, ...(a.ndim > 1 ? [m] : []), ...(b.ndim > 1 ? [n] : [])], dtype, a.device)
    gemm(shaped(out, [...batch, m, n]), leftMatrix(a), rightMatrix(b))
    ctx.saveForBackward(ctx.needs[1] ? a : undefined, ctx.needs[0] ? b : undefined)
    return out
  },
  backward(ctx, grad, { batch, m, n, dtypes, shapes }) {
    const [a, b] = ctx.saved as [Tensor?, Tensor?]
    const [left, right] = shapes
    // The gradient as [...batch, m, n]: a vector operand leaves its dim out of the result.
    const [rowStride, columnStride] = [
      left.length > 1 ? grad.strides.at(right.length > 1 ? -2 : -1)! : 0,
      right.length > 1 ? grad.strides.at(-1)! : 0,
    ]
    const strides = [...grad.strides.slice(0, batch.length), rowStride, columnStride]
    const dy = view(grad, { shape: [...batch, m, n], strides })
    return [
      b && gradient(ctx, 0, left, dtypes[0], batch, dy, transposed(rightMatrix(b))),
      a && rightGradient(ctx, a, right, dtypes[1], batch, dy),
    ]
  },
  differentiableBackward(ctx, grad, { batch, m, n, shapes }) {
    const dy = reshape(grad, [...batch, m, n])
    const matrix = (i: 0 | 1, shape: (size: number) => Shape) => {
      const t = ctx.input(i)
      return t.ndim > 1 ? t : reshape(t, shape(t.size))
    }
    const gradient = (i: 0 | 1, product: () => Tensor) => {
      if (!ctx.needs[i]) return undefined
      const shape = shapes[i]
      const full = product()
      return shape.length > 1 ? sumTo(full, shape) : reshape(sumTo(full, full.shape.slice(-2)), shape)
    }
    return [
      gradient(0, () =>
        matmul(
          dy,
          transpose(
            matrix(1, (k) => [k, 1]),
            -1,
            -2,
          ),
        ),
      ),
      gradient(1, () =>
        matmul(
          transpose(
            matrix(0, (k) => [1, k]),
            -1,
            -2,
          ),
          dy,
        ),
      ),
    ]
  },
})

/** The gradient x y of input i, which has shape `input`, summed over the batch dims along which the input broadcasts. */
function gradient(ctx: OpContext, i: number, input: Shape, dtype: Dtype, batch: Shape, x: Tensor, y: Tensor): Tensor {
  const matrix = [x.shape.at(-2)!, y.shape.at(-1)!]
  if (format(input.slice(0, -2)) === format(batch)) {
    const out = ctx.gradOut(i)
    gemm(shaped(out, [...batch, ...matrix]), x, y)
    return out
  }
  const full = empty([...batch, ...matrix], dtype, x.device)
  gemm(full, x, y)
  return sumToInput(ctx, i, input.length === 1 ? shaped(full, [...batch, input[0]!]) : full, input)
}

/** The gradient a^T dy of the right operand, which has shape `b`. */
function rightGradient(ctx: OpContext, a: Tensor, b: Shape, dtype: Dtype, batch: Shape, dy: Tensor): Tensor {
  // Where one matrix serves all batches, its gradient is one product over the rows of all batches.
  const shared = a.ndim > 2 && b.length <= 2
  const [x, y] = shared ? [asRows(a), asRows(dy)] : [leftMatrix(a), dy]
  return gradient(ctx, 1, b, dtype, shared ? [] : batch, transposed(x), y)
}

/** Makes a vector [k] a matrix [1, k]. */
function leftMatrix(a: Tensor): Tensor {
  return a.ndim > 1 ? a : view(a, { shape: [1, a.size], strides: [0, a.strides[0]!] })
}

/** Makes a vector [k] a matrix [k, 1]. */
function rightMatrix(b: Tensor): Tensor {
  return b.ndim > 1 ? b : view(b, { shape: [b.size, 1], strides: [b.strides[0]!, 0] })
}

/**
 * The matrix product by NumPy's rules. Leading dims are batch dims and broadcast. A vector counts as a row on the left and as a column on the
 * right, and its dim is left out of the result. Views are read where they lie.
 * @param a [..., m, k] or [k], float32 or float16
 * @param b [..., k, n] or [k], of the dtype of a; inside `autocast` both are cast to its dtype
 * @returns [..., m, n], [..., m], [..., n] or []
 * @throws ShapeError for other dtypes, scalars, or sizes that do not match
 */
export function matmul(a: Tensor, b: Tensor, ...extra: []): Tensor {
  checkTensor('matmul', a)
  checkTensor('matmul', b)
  checkNoMore('matmul', extra)
  const k = a.shape.at(-1)
  const dtype = computeDtype([a, b])
  if (!dtype || k === undefined || k !== b.shape.at(b.ndim > 1 ? -2 : -1)) {
    throw mismatch('matmul', [a, b], '[..., m, k] (or [k]) and [..., k, n] (or [k]) of one dtype, float32 or float16')
  }
  const batch = broadcastShapes('matmul', a.shape.slice(0, -2), b.shape.slice(0, -2))
  const [m, n] = [a.shape.at(-2) ?? 1, b.ndim > 1 ? b.shape.at(-1)! : 1]
  return op([a, b], { batch, m, n, dtype, dtypes: [a.dtype, b.dtype], shapes: [a.shape, b.shape] })
}
