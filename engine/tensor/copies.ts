import { copy, copyProblem, fill, wordOf } from '../../kernels/copy/index.ts'
import {
  accumulate,
  accumulateHalf,
  accumulateProblem,
  binary,
  binaryHalf,
  binaryProblem,
} from '../../kernels/elementwise/index.ts'
import { ITEM_BYTES, scalarOf } from '../layout/dtype.ts'
import { run, words } from './run.ts'
import { operand, type StridedView } from './strided.ts'

type Float = 'f32' | 'f16'

/** Copies the values of any view into the memory of another of the same shape: of its dtype, or between float32 and float16. */
export function copyInto(source: StridedView, target: StridedView): void {
  const from = operand(source)
  const to = operand(target)
  const [given, wanted] = [source, target].map(({ dtype }) => scalarOf(dtype)) as [Float, Float]
  // Words of one type are moved as they are, whatever it is.
  const types = given === 'f32' && wanted === 'f32' ? {} : { from: given, to: wanted }
  run(copy, copyProblem(source.shape, from.layout, to.layout, types), [from.bound, to.bound])
}

/** target += value in place, float32 or float16; `target` is contiguous and bindable, `value` any view of the same shape and dtype. */
export function addInPlace(target: StridedView, value: StridedView): void {
  const { layout, bound } = operand(value)
  run(target.dtype === 'float16' ? accumulateHalf : accumulate, accumulateProblem(value.shape, layout), [bound, target])
}

/** out = a + b, float32 or float16; `out` is contiguous and bindable, a and b any views of the same shape and dtype. */
export function addOut(out: StridedView, a: StridedView, b: StridedView): void {
  const [left, right] = [operand(a), operand(b)]
  run(out.dtype === 'float16' ? binaryHalf : binary, binaryProblem('add', out.shape, left.layout, right.layout), [
    left.bound,
    right.bound,
    out,
  ])
}

/** Sets every element to `value`; `target` is contiguous, and owns its memory where it is float16 of an odd size. */
export function fillInPlace(target: StridedView & { readonly size: number }, value: number): void {
  const { dtype, size } = target
  const word = wordOf(value, dtype === 'int32' ? 'i32' : scalarOf(dtype))
  // A word holds two halves; the half after the last element belongs to no tensor.
  run(fill, { count: Math.ceil((size * ITEM_BYTES[dtype]) / 4), word }, [words(target)])
}
