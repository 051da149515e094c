import { copy, copyProblem, fill, wordOf } from '../../kernels/copy/index.ts'
import { ITEM_BYTES, scalarOf } from '../layout/dtype.ts'
import { asWords, run } from './run.ts'
import { operand, type StridedView } from './strided.ts'

type Float = 'f32' | 'f16'

/** Copies the values of a view into another view of the same shape. Both have one dtype, or one is float32 and the other float16. */
export function copyInto(source: StridedView, target: StridedView): void {
  const from = operand(source)
  const to = operand(target)
  const [fromType, toType] = [source, target].map(({ dtype }) => scalarOf(dtype)) as [Float, Float]
  // The kernel moves 4-byte words unchanged when no types are named, so int32 is copied as it is.
  const types = fromType === 'f32' && toType === 'f32' ? {} : { from: fromType, to: toType }
  run(copy, copyProblem(from.layout, to.layout, types), [from.bound, to.bound])
}

/** Sets every element of a contiguous tensor to `value`. A float16 tensor of odd size must be the only user of its last word. */
export function fillInPlace(target: StridedView & { readonly size: number }, value: number): void {
  const { dtype, size } = target
  const word = wordOf(value, dtype === 'int32' ? 'i32' : scalarOf(dtype))
  // The last word of a float16 tensor of odd size holds one more half, which belongs to no tensor.
  run(fill, { count: Math.ceil((size * ITEM_BYTES[dtype]) / 4), word }, [asWords(target)])
}
