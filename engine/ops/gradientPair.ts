import type { OpContext } from '../autograd/tape.ts'
import { bindingAlignment } from '../layout/dtype.ts'
import { joint } from '../memory/version.ts'
import type { Bindable } from '../tensor/run.ts'
import { empty, type Tensor, view } from '../tensor/tensor.ts'

/** The gradients of two float32 parameters that one kernel writes through one binding. */
export interface GradientPair {
  first: Tensor
  second: Tensor
  /** The part of a buffer that holds both, to bind. */
  out: Bindable
  /** The first element of the first gradient in `out`. */
  firstOffset: number
  /** The distance from the first gradient to the second, modulo 2^32. */
  toSecond: number
}

/**
 * Makes the gradients of inputs i and j where one binding can write both, since a kernel cannot bind one buffer twice for writing. In an arena
 * they lie in one buffer already; else they get one.
 */
export function gradientPair(ctx: OpContext, i: number, j: number): GradientPair {
  let [first, second] = [ctx.gradOut(i), ctx.gradOut(j)]
  const { device } = first
  if (first.storage !== second.storage) {
    const both = empty([first.size + second.size], 'float32', device)
    const [{ shape, strides }, { shape: secondShape, strides: secondStrides }] = [first, second]
    first = view(both, { shape, strides })
    second = view(both, { shape: secondShape, strides: secondStrides, offset: first.size })
  }
  // The binding covers only the part that is written, so that gradients of other branches in the same arena do not overlap it.
  const least = Math.min(first.offset, second.offset)
  const offset = least - (least % bindingAlignment(first.dtype))
  const out = {
    device,
    storage: first.storage,
    version: joint([first.version, second.version]),
    dtype: first.dtype,
    offset,
    end: Math.max(first.end, second.end),
  }
  return { first, second, out, firstOffset: first.offset - offset, toSecond: (second.offset - first.offset) >>> 0 }
}
