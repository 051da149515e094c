import { defineOp } from '../autograd/tape.ts'
import type { Shape } from '../layout/shape.ts'
import { copyInto, fillInPlace } from '../tensor/copies.ts'
import { empty, type Tensor, view } from '../tensor/tensor.ts'

/** The dims of x, each with the dim of the result that walks along it. Dims with one target are walked together. */
interface Targets {
  shape: Shape
  targets: readonly number[]
}

function diagonalView(x: Tensor, { shape, targets }: Targets): Tensor {
  const strides = shape.map((_, d) => x.strides.reduce((sum, stride, i) => sum + (targets[i] === d ? stride : 0), 0))
  return view(x, { shape, strides })
}

type DiagonalOp = (inputs: [Tensor], args: Targets) => Tensor

/** Writes `src` along diagonals of `out`, and zeros elsewhere. */
function spreadInto(out: Tensor, src: Tensor, args: Targets): void {
  fillInPlace(out, 0)
  copyInto(src, diagonalView(out, args))
}

/** A view of x along diagonals: the element (i, j, …) of the result has in x the index `targets` tells, such as (i, i, j). */
export const diagonalOf: DiagonalOp = defineOp<[Tensor], Targets>({
  name: 'diagonal',
  forward: (_ctx, [x], args) => diagonalView(x, args),
  backward(ctx, grad, args) {
    const dx = ctx.gradOut(0)
    spreadInto(dx, grad, args)
    return [dx]
  },
  differentiableBackward: (_ctx, grad, args) => [spreadOp([grad], args)],
})

const spreadOp: DiagonalOp = defineOp<[Tensor], Targets>({
  name: 'diagonal.backward',
  forward(_ctx, [grad], args) {
    const shape = args.targets.map((target) => args.shape[target]!)
    const out = empty(shape, grad.dtype, grad.device)
    spreadInto(out, grad, args)
    return out
  },
  backward: (_ctx, grad, args) => [diagonalOf([grad], args)],
  differentiableBackward: (_ctx, grad, args) => [diagonalOf([grad], args)],
})
