// Launches of the elementwise kernels for each dtype, off the tape.
import * as kernels from '../../kernels/elementwise/index.ts'
import { run } from './run.ts'
import { operand, type StridedView } from './strided.ts'
import type { Tensor } from './tensor.ts'

/** y = op(x). Both are contiguous and of one dtype; only `neg` takes int32. */
export function runUnary(op: kernels.UnaryOp, x: Tensor, y: Tensor): void {
  if (x.dtype === 'int32') run(kernels.scalarInt, { op: 'subFrom', count: x.size, scalar: 0 }, [x, y])
  else run(x.dtype === 'float16' ? kernels.unaryHalf : kernels.unary, { op, count: x.size }, [x, y])
}

/** dx = grad * op'(x). `saved` is x or op(x), as `SAVES_INPUT` says; all are contiguous and of one float dtype. */
export function runUnaryBackward(op: kernels.UnaryBackward['op'], grad: Tensor, saved: Tensor, dx: Tensor): void {
  run(dx.dtype === 'float16' ? kernels.unaryBackwardHalf : kernels.unaryBackward, { op, count: dx.size }, [grad, saved, dx])
}

/** out = a op b. The views a and b broadcast to the contiguous `out`; all are of one dtype. */
export function runBinary(op: kernels.BinaryOp, a: StridedView, b: StridedView, out: Tensor): void {
  const [left, right] = [operand(a, out.shape), operand(b, out.shape)]
  const kernel = { float32: kernels.binary, float16: kernels.binaryHalf, int32: kernels.binaryInt }[out.dtype]
  run(kernel, kernels.binaryProblem(op, left.layout, right.layout), [left.bound, right.bound, out])
}

/** out = x op value. Both tensors are contiguous and of one dtype. */
export function runScalar(op: kernels.ScalarOp, x: Tensor, value: number, out: Tensor): void {
  const kernel = { float32: kernels.scalar, float16: kernels.scalarHalf, int32: kernels.scalarInt }[x.dtype]
  run(kernel, { op, count: x.size, scalar: value }, [x, out])
}

/** target += value. `target` is contiguous and aligned, `value` any view of the same shape; both are float32 or both float16. */
export function addInPlace(target: StridedView, value: StridedView): void {
  const { layout, bound } = operand(value)
  const kernel = target.dtype === 'float16' ? kernels.accumulateHalf : kernels.accumulate
  run(kernel, kernels.accumulateProblem(layout), [bound, target])
}
