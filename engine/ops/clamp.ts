import { type Clamp, clampBackward, clamp as clampKernel } from '../../kernels/algebraic/clamp.ts'
import { wordOf } from '../../kernels/copy/fill.ts'
import { defineOp } from '../autograd/tape.ts'
import { checkNoMore, checkNumber } from '../base/checks.ts'
import { INT32_MAX, INT32_MIN, isFloat, scalarOf } from '../layout/dtype.ts'
import { checkTensor } from '../tensor/arguments.ts'
import { run } from '../tensor/run.ts'
import { empty, type Tensor } from '../tensor/tensor.ts'
import { ge, le, logicalAnd } from './compare.ts'
import { checkInt } from './create.ts'
import { where } from './where.ts'

interface Limits {
  low: number
  high: number
}

/** The problem of the kernels for a tensor like `x`. */
function problemOf({ size, dtype }: Tensor, { low, high }: Limits): Clamp {
  const word = (limit: number) => wordOf(limit, dtype === 'int32' ? 'i32' : 'f32')
  return { count: size, low: word(low), high: word(high), dtype: dtype === 'int32' ? 'i32' : scalarOf(dtype) }
}

const op = defineOp<[Tensor], Limits>({
  name: 'clamp',
  forward(ctx, [input], limits) {
    const x = input.contiguous()
    const y = empty(x.shape, x.dtype, x.device)
    run(clampKernel, problemOf(x, limits), [x, y])
    ctx.saveForBackward(x)
    return y
  },
  backward(ctx, grad, limits) {
    const dx = ctx.gradOut(0)
    run(clampBackward, problemOf(dx, limits), [grad.contiguous(), ctx.saved[0]!, dx])
    return [dx]
  },
  differentiableBackward(ctx, grad, { low, high }) {
    const x = ctx.saved[0]!
    return [where(logicalAnd(ge(x, low), le(x, high)), grad, 0)]
  },
})

/**
 * Holds x between two limits, of any dtype. A limit that is left out or undefined does not hold; where min is above max, the result
 * is max. NaN stays NaN, and a limit of NaN gives NaN everywhere. The gradient is 0 beyond the limits and passes at them, as in
 * PyTorch.
 * @throws ArgumentError when a limit is no number; ShapeError for a limit that int32 does not hold
 */
export function clamp(x: Tensor, min?: number, max?: number, ...extra: []): Tensor {
  checkTensor('clamp', x)
  for (const [limit, name] of [
    [min, 'min'],
    [max, 'max'],
  ] as const) {
    if (limit === undefined) continue
    checkNumber('clamp', limit, name)
    if (!isFloat(x.dtype)) checkInt('clamp', limit)
  }
  checkNoMore('clamp', extra)
  const [least, most] = isFloat(x.dtype) ? [Number.NEGATIVE_INFINITY, Number.POSITIVE_INFINITY] : [INT32_MIN, INT32_MAX]
  return op([x], { low: min ?? least, high: max ?? most })
}
