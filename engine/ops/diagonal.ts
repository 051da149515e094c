import { defineOp } from '../autograd/tape.ts'
import type { Shape } from '../layout/shape.ts'
import { copyInto, fillInPlace } from '../tensor/copies.ts'
import { type Tensor, view } from '../tensor/tensor.ts'

/** The dims of x, each with the dim of the result that walks along it. Dims with one target are walked together. */
interface Targets {
  shape: Shape
  targets: readonly number[]
}

function diagonalView(x: Tensor, { shape, targets }: Targets): Tensor {
  const strides = shape.map((_, d) => x.strides.reduce((sum, stride, i) => sum + (targets[i] === d ? stride : 0), 0))
  return view(x, { shape, strides })
}

/** A view of x along diagonals: the element (i, j, …) of the result has in x the index `targets` tells, such as (i, i, j). */
export const diagonalOf = defineOp<[Tensor], Targets>({
  name: 'diagonal',
  forward: (_ctx, [x], args) => diagonalView(x, args),
  backward(ctx, grad, args) {
    const dx = ctx.gradOut(0)
    fillInPlace(dx, 0)
    copyInto(grad, diagonalView(dx, args))
    return [dx]
  },
})
