// Launches of the elementwise kernels for each dtype, off the tape.
import * as kernels from '../../kernels/elementwise/index.ts'
import { byName } from '../base/maps.ts'
import { bindingAlignment, DTYPES } from '../layout/dtype.ts'
import { byLayouts, byNumber, share } from '../layout/layoutMemo.ts'
import { broadcastShapes, equalShapes } from '../layout/shape.ts'
import { rowMajor, type TensorLayout } from '../layout/tensorLayout.ts'
import { run } from './run.ts'
import { fromAligned, operandLayout, type StridedView } from './strided.ts'
import type { Tensor } from './tensor.ts'

const UNARY_OPS = Object.keys(kernels.UNARY) as kernels.UnaryOp[]

const unaryProblems = byName(UNARY_OPS, (op) => byName(DTYPES, () => byLayouts(({ size }) => share({ op, count: size }))))
const negatedInts = byLayouts(({ size }) => share({ op: 'subFrom' as const, count: size, scalar: 0 }))

/** y = op(x). Both are contiguous and of one dtype; only `neg` takes int32. */
export function runUnary(op: kernels.UnaryOp, x: Tensor, y: Tensor): void {
  if (x.dtype === 'int32') run(kernels.scalarInt, negatedInts(x.layout, x.layout), [x, y])
  else run(x.dtype === 'float16' ? kernels.unaryHalf : kernels.unary, unaryProblems[op][x.dtype](x.layout, x.layout), [x, y])
}

const unaryBackwardProblems = byName(UNARY_OPS as kernels.UnaryBackward['op'][], (op) =>
  byName(DTYPES, () => byLayouts(({ size }) => share({ op, count: size }))),
)

/** dx = grad * op'(x). `saved` is x or op(x), as `SAVES_INPUT` says; all are contiguous and of one float dtype. */
export function runUnaryBackward(op: kernels.UnaryBackward['op'], grad: Tensor, saved: Tensor, dx: Tensor): void {
  const problem = unaryBackwardProblems[op][dx.dtype](dx.layout, dx.layout)
  run(dx.dtype === 'float16' ? kernels.unaryBackwardHalf : kernels.unaryBackward, problem, [grad, saved, dx])
}

const BINARY_OPS = Object.keys(kernels.BINARY) as kernels.BinaryOp[]
const BINARY_KERNELS = { float32: kernels.binary, float16: kernels.binaryHalf, int32: kernels.binaryInt } as const

/** By op and dtype, the layout of the result and the problem for two operands. */
const binaryCalls = byName(BINARY_OPS, (op) =>
  byName(DTYPES, (dtype) =>
    byLayouts((a, b) => {
      const result = rowMajor(broadcastShapes(op, a.shape, b.shape))
      const left = operandLayout(a, dtype, result.shape)
      const right = operandLayout(b, dtype, result.shape)
      return { result, problem: share(kernels.binaryProblem(op, left, right)) }
    }),
  ),
)

/** The layout of a new tensor for a op b. @throws ShapeError for shapes that do not broadcast */
export function binaryLayout(op: kernels.BinaryOp, a: StridedView, b: StridedView): TensorLayout {
  return binaryCalls[op][a.dtype](a.layout, b.layout).result
}

/** out = a op b. The views a and b broadcast to the shape of the contiguous `out`; all are of one dtype. */
export function runBinary(op: kernels.BinaryOp, a: StridedView, b: StridedView, out: Tensor): void {
  const { problem } = binaryCalls[op][out.dtype](a.layout, b.layout)
  run(BINARY_KERNELS[out.dtype], problem, [fromAligned(a), fromAligned(b), out])
}

/** Whether `runAddFour` can add up these: three or four of float32 and one shape, each row-major from an aligned start. */
export function canAddFour(terms: readonly Tensor[]): boolean {
  const [{ shape }] = terms as [Tensor]
  const aligned = ({ offset }: Tensor) => offset % bindingAlignment('float32') === 0
  const fits = (t: Tensor) => t.dtype === 'float32' && t.isContiguous() && aligned(t) && equalShapes(t.shape, shape)
  return terms.length >= 3 && terms.every(fits)
}

/** out = (a + b) + (c + d), or (a + b) + c, of tensors for which `canAddFour` holds. */
export function runAddFour(terms: readonly Tensor[], out: Tensor): void {
  const [a, b, c, d = c] = terms as [Tensor, Tensor, Tensor, Tensor?]
  run(kernels.addFour, { count: out.size, terms: terms.length === 4 ? 4 : 3 }, [a, b, c, d, out])
}

const SCALAR_KERNELS = { float32: kernels.scalar, float16: kernels.scalarHalf, int32: kernels.scalarInt } as const

const scalarProblems = byName(Object.keys(kernels.SCALAR) as kernels.ScalarOp[], (op) =>
  byName(DTYPES, () => byLayouts(({ size }) => byNumber((scalar) => share({ op, count: size, scalar })))),
)

/** out = x op value. Both tensors are contiguous and of one dtype. */
export function runScalar(op: kernels.ScalarOp, x: Tensor, value: number, out: Tensor): void {
  run(SCALAR_KERNELS[x.dtype], scalarProblems[op][x.dtype](x.layout, x.layout)(value), [x, out])
}

const accumulateProblems = byName(DTYPES, (dtype) =>
  byLayouts((value: TensorLayout) => share(kernels.accumulateProblem(operandLayout(value, dtype)))),
)

/** target += value. `target` is contiguous and aligned, `value` any view of the same shape; both are float32 or both float16. */
export function addInPlace(target: StridedView, value: StridedView): void {
  const kernel = target.dtype === 'float16' ? kernels.accumulateHalf : kernels.accumulate
  run(kernel, accumulateProblems[value.dtype](value.layout, value.layout), [fromAligned(value), target])
}
