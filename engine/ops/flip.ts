import { copy, flipProblem } from '../../kernels/copy/index.ts'
import { defineOp } from '../autograd/tape.ts'
import { checkNoMore } from '../base/checks.ts'
import { ShapeError } from '../base/errors.ts'
import { normalizeDim, type Shape } from '../layout/shape.ts'
import { checkTensor } from '../tensor/arguments.ts'
import { run } from '../tensor/run.ts'
import { operand } from '../tensor/strided.ts'
import { empty, type Tensor } from '../tensor/tensor.ts'

/** Writes x with its order reversed along the dims into `out`, a contiguous tensor of the shape and dtype of x. */
function flipInto(out: Tensor, x: Tensor, dims: Shape): void {
  const from = operand(x)
  const types = x.dtype === 'float16' ? ({ from: 'f16', to: 'f16' } as const) : {}
  run(copy, flipProblem(from.layout, operand(out).layout, dims, types), [from.bound, out])
}

const op: (inputs: [Tensor], dims: Shape) => Tensor = defineOp<[Tensor], Shape>({
  name: 'flip',
  forward(_ctx, [x], dims) {
    const out = empty(x.shape, x.dtype, x.device)
    flipInto(out, x, dims)
    return out
  },
  backward(ctx, grad, dims) {
    const dx = ctx.gradOut(0)
    flipInto(dx, grad, dims)
    return [dx]
  },
  differentiableBackward: (_ctx, grad, dims) => [op([grad], dims)],
})

/** The dims of a list, or one dim, counted from the front. @throws ShapeError for a dim that x does not have, or one named twice */
export function dimsOf(name: string, x: Tensor, dims: number | readonly number[]): number[] {
  const list = [dims].flat() as number[]
  const counted = list.map((dim) => normalizeDim(name, dim, x.ndim))
  if (new Set(counted).size !== counted.length) throw new ShapeError(`${name}: dims [${list}] name a dim twice`)
  return counted
}

/**
 * Reverses the order of the elements along one or more dims. The result is a copy, since tensors have no negative strides.
 * @param x any shape and dtype
 * @param dims a dim or a list of dims; by default all. Negative numbers count back
 * @throws ShapeError for a dim that x does not have, or one named twice
 */
export function flip(x: Tensor, dims: number | readonly number[] = x?.shape?.map((_, d) => d), ...extra: []): Tensor {
  checkTensor('flip', x)
  checkNoMore('flip', extra)
  return op([x], dimsOf('flip', x, dims))
}
