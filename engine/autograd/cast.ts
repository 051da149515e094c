import { castToFloat, castToInt } from '../../kernels/elementwise/index.ts'
import { checkNoMore } from '../base/checks.ts'
import { checkDtype, type Dtype, isFloat } from '../layout/dtype.ts'
import { checkTensor } from '../tensor/arguments.ts'
import { copyInto } from '../tensor/copies.ts'
import { run } from '../tensor/run.ts'
import { empty, type Tensor } from '../tensor/tensor.ts'
import { defineOp, noGrad } from './tape.ts'

/** The values of x as another dtype, row-major, off the tape; x itself where it has that dtype. */
export function converted(x: Tensor, dtype: Dtype): Tensor {
  if (x.dtype === dtype) return x
  // Kernels take integers to and from float32 only.
  if (!isFloat(x.dtype) && dtype === 'float16') return converted(converted(x, 'float32'), dtype)
  if (x.dtype === 'float16' && !isFloat(dtype)) return converted(converted(x, 'float32'), dtype)
  const out = empty(x.shape, dtype, x.device)
  if (isFloat(x.dtype) && isFloat(dtype)) copyInto(x, out)
  else run(isFloat(dtype) ? castToFloat : castToInt, { count: x.size }, [x.contiguous(), out])
  return out
}

const op = defineOp<[Tensor], { from: Dtype; to: Dtype }>({
  name: 'cast',
  forward: (_ctx, [x], { to }) => converted(x, to),
  backward: (_ctx, grad, { from }) => [converted(grad, from)],
})

/**
 * x as another dtype. To float16 numbers are rounded to the nearest, those beyond 65504 to infinity; the gradient comes back as x's
 * dtype. To int32 fractions are cut off, numbers beyond it become its last within float32, NaN its lowest; no gradient flows.
 * @throws ShapeError for an unknown dtype; UserError for float16 on a device without it
 */
export function cast(x: Tensor, dtype: Dtype, ...extra: []): Tensor {
  checkTensor('cast', x)
  checkNoMore('cast', extra)
  checkDtype('cast', dtype, x.device)
  const args = { from: x.dtype, to: dtype }
  return isFloat(dtype) ? op([x], args) : noGrad(() => op([x], args))
}
