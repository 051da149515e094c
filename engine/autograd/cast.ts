import { castToFloat, castToInt } from '../../kernels/elementwise/index.ts'
import { checkNoMore } from '../base/checks.ts'
import { checkDtype, type Dtype, isFloat } from '../layout/dtype.ts'
import { checkTensor } from '../tensor/arguments.ts'
import { copyInto } from '../tensor/copies.ts'
import { run } from '../tensor/run.ts'
import { empty, type Tensor } from '../tensor/tensor.ts'
import { defineOp, noGrad } from './tape.ts'

/** Returns x itself if it has the dtype, else a row-major copy in that dtype, off the tape. */
export function castDetached(x: Tensor, dtype: Dtype): Tensor {
  if (x.dtype === dtype) return x
  // No kernel casts between int32 and float16 directly.
  const direct = x.dtype === 'float32' || dtype === 'float32'
  if (!direct) return castDetached(castDetached(x, 'float32'), dtype)
  const out = empty(x.shape, dtype, x.device)
  if (isFloat(x.dtype) && isFloat(dtype)) copyInto(x, out)
  else run(isFloat(dtype) ? castToFloat : castToInt, { count: x.size }, [x.contiguous(), out])
  return out
}

const op = defineOp<[Tensor], { from: Dtype; to: Dtype }>({
  name: 'cast',
  forward: (_ctx, [x], { to }) => castDetached(x, to),
  backward: (_ctx, grad, { from }) => [castDetached(grad, from)],
  differentiableBackward: (_ctx, grad, { from }) => [cast(grad, from)],
})

/**
 * Returns the values of x in another dtype. float16 rounds to the nearest number, beyond 65504 to infinity. int32 cuts fractions off; it
 * turns numbers beyond its range into the last one within the range that float32 has, and NaN into its least. The gradient is cast back to
 * the dtype of x; none flows through int32.
 * @throws ShapeError for an unknown dtype; UserError for float16 on a device without it
 */
export function cast(x: Tensor, dtype: Dtype, ...extra: []): Tensor {
  checkTensor('cast', x)
  checkNoMore('cast', extra)
  checkDtype('cast', dtype, x.device)
  const args = { from: x.dtype, to: dtype }
  return isFloat(dtype) ? op([x], args) : noGrad(() => op([x], args))
}

/** Returns an int32 tensor as float32, in which functions of real numbers compute, and any other tensor as it is. */
export function toFloat(x: Tensor): Tensor {
  return isFloat(x.dtype) ? x : cast(x, 'float32')
}
