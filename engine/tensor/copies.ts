import { copy, copyProblem, fill, wordOf } from '../../kernels/copy/index.ts'
import { byName } from '../base/maps.ts'
import { DTYPES, ITEM_BYTES, scalarOf } from '../layout/dtype.ts'
import { byLayouts, share } from '../layout/layoutMemo.ts'
import { asWords, run } from './run.ts'
import { fromAligned, operandLayout, type StridedView } from './strided.ts'

/** By the dtypes of source and target, the problem for their layouts. */
const copyProblems = byName(DTYPES, (source) =>
  byName(DTYPES, (target) => {
    const [from, to] = [scalarOf(source), scalarOf(target)]
    // The kernel moves 4-byte words unchanged when no types are named, so int32 is copied as it is.
    const types = from === 'f32' && to === 'f32' ? {} : { from, to }
    return byLayouts((a, b) => share(copyProblem(operandLayout(a, source), operandLayout(b, target), types)))
  }),
)

/** Copies the values of a view into another view of the same shape. Both have one dtype, or one is float32 and the other float16. */
export function copyInto(source: StridedView, target: StridedView): void {
  const problem = copyProblems[source.dtype][target.dtype](source.layout, target.layout)
  run(copy, problem, [fromAligned(source), fromAligned(target)])
}

/** Sets every element of a contiguous tensor to `value`. A float16 tensor of odd size must be the only user of its last word. */
export function fillInPlace(target: StridedView & { readonly size: number }, value: number): void {
  const { dtype, size } = target
  const word = wordOf(value, dtype === 'int32' ? 'i32' : scalarOf(dtype))
  // The last word of a float16 tensor of odd size holds one more half, which belongs to no tensor.
  run(fill, { count: Math.ceil((size * ITEM_BYTES[dtype]) / 4), word }, [asWords(target)])
}
