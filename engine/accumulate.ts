import { copy, copyProblem } from '../kernels/copy/index.ts'
import { accumulate, accumulateProblem } from '../kernels/elementwise/index.ts'
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
