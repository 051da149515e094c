// Launches of the elementwise kernels for each dtype, off the tape.
import {
  accumulate,
  accumulateHalf,
  accumulateProblem,
  type BinaryOp,
  binary,
  binaryHalf,
  binaryInt,
  binaryProblem,
  type ScalarOp,
  scalar,
  scalarHalf,
  scalarInt,
  type UnaryBackward,
  type UnaryOp,
  unary,
  unaryBackward,
  unaryBackwardHalf,
  unaryHalf,
} from '../../kernels/elementwise/index.ts'
import { run } from './run.ts'
import { operand, type StridedView } from './strided.ts'
import type { Tensor } from './tensor.ts'

/** y = op(x). Both are contiguous and of one dtype; only `neg` takes int32. */
export function runUnary(op: UnaryOp, x: Tensor, y: Tensor): void {
  if (x.dtype === 'int32') run(scalarInt, { op: 'subFrom', count: x.size, scalar: 0 }, [x, y])
  else run(x.dtype === 'float16' ? unaryHalf : unary, { op, count: x.size }, [x, y])
}

/** dx = grad * op'(x). `saved` is x or op(x), as `SAVES_INPUT` says; all are contiguous and of one float dtype. */
export function runUnaryBackward(op: UnaryBackward['op'], grad: Tensor, saved: Tensor, dx: Tensor): void {
  run(dx.dtype === 'float16' ? unaryBackwardHalf : unaryBackward, { op, count: dx.size }, [grad, saved, dx])
}

/** out = a op b. The views a and b broadcast to the contiguous `out`; all are of one dtype. */
export function runBinary(op: BinaryOp, a: StridedView, b: StridedView, out: Tensor): void {
  const [left, right] = [operand(a, out.shape), operand(b, out.shape)]
  const kernel = { float32: binary, float16: binaryHalf, int32: binaryInt }[out.dtype]
  run(kernel, binaryProblem(op, left.layout, right.layout), [left.bound, right.bound, out])
}

/** out = x op value. Both tensors are contiguous and of one dtype. */
export function runScalar(op: ScalarOp, x: Tensor, value: number, out: Tensor): void {
  const kernel = { float32: scalar, float16: scalarHalf, int32: scalarInt }[x.dtype]
  run(kernel, { op, count: x.size, scalar: value }, [x, out])
}

/** target += value. `target` is contiguous and aligned, `value` any view of the same shape; both are float32 or both float16. */
export function addInPlace(target: StridedView, value: StridedView): void {
  const { layout, bound } = operand(value)
  run(target.dtype === 'float16' ? accumulateHalf : accumulate, accumulateProblem(layout), [bound, target])
}
