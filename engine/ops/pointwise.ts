// The elementwise kernels by dtype, off the tape. A module of its own, since sums need them and other ops need sums.
import {
  type BinaryOp,
  binary,
  binaryHalf,
  binaryInt,
  binaryProblem,
  type ScalarOp,
  scalar,
  scalarHalf,
  scalarInt,
  type UnaryOp,
  unary,
  unaryBackward,
  unaryBackwardHalf,
  unaryHalf,
} from '../../kernels/elementwise/index.ts'
import { run } from '../tensor/run.ts'
import { operand } from '../tensor/strided.ts'
import type { Tensor } from '../tensor/tensor.ts'

/** y = op(x); both are contiguous and of one dtype, int32 for `neg` only. */
export function runUnary(op: UnaryOp, x: Tensor, y: Tensor): void {
  if (x.dtype === 'int32') run(scalarInt, { op: 'subFrom', count: x.size, scalar: 0 }, [x, y])
  else run(x.dtype === 'float16' ? unaryHalf : unary, { op, count: x.size }, [x, y])
}

/** Writes grad times the derivative into `dx`, off the tape; all are contiguous and of one dtype. */
export function runUnaryBackward(op: UnaryOp, grad: Tensor, saved: Tensor, dx: Tensor): void {
  run(dx.dtype === 'float16' ? unaryBackwardHalf : unaryBackward, { op, count: dx.size }, [grad, saved, dx])
}

/** out = a op b, broadcast; all are of one dtype, `out` is contiguous. */
export function runBinary(op: BinaryOp, a: Tensor, b: Tensor, out: Tensor): void {
  const [left, right] = [operand(a, out.shape), operand(b, out.shape)]
  const kernel = { float32: binary, float16: binaryHalf, int32: binaryInt }[out.dtype]
  run(kernel, binaryProblem(op, out.shape, left.layout, right.layout), [left.bound, right.bound, out])
}

/** Writes x op value into `out`, off the tape; both are contiguous and of one dtype. */
export function runScalar(op: ScalarOp, x: Tensor, value: number, out: Tensor): void {
  const kernel = { float32: scalar, float16: scalarHalf, int32: scalarInt }[x.dtype]
  run(kernel, { op, count: x.size, scalar: value }, [x, out])
}
