import { copy, copyProblem } from '../kernels/copy/index.ts'
import { accumulate, accumulateProblem, binary, binaryProblem } from '../kernels/elementwise/index.ts'
import { run } from './run.ts'
import { operand } from './strided.ts'
import type { Tensor } from './tensor.ts'

/** Copies the values of any view into the memory of another of the same shape. */
export function copyInto(source: Tensor, target: Tensor): void {
  const from = operand(source)
  const to = operand(target)
  run(copy, copyProblem(source.shape, from.layout, to.layout), [from.bound, to.bound])
}

/** target += value, float32, in place; `target` is contiguous and bindable, `value` any view of the same shape. */
export function addInto(target: Tensor, value: Tensor): void {
  const { layout, bound } = operand(value)
  run(accumulate, accumulateProblem(value.shape, layout), [bound, target])
}

/** out = a + b, float32; `out` is contiguous and bindable, a and b any views of the same shape. */
export function addTo(out: Tensor, a: Tensor, b: Tensor): void {
  const [left, right] = [operand(a), operand(b)]
  run(binary, binaryProblem('add', out.shape, left.layout, right.layout), [left.bound, right.bound, out])
}
