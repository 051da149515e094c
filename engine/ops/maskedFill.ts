import { deviceOf } from '../autograd/tape.ts'
import { checkNoMore } from '../base/checks.ts'
import { broadcastShapes, format } from '../layout/shape.ts'
import { checkOperand, checkTensor, mismatch } from '../tensor/arguments.ts'
import type { Tensor } from '../tensor/tensor.ts'
import { where } from './where.ts'

/**
 * Puts a value in place of the elements of x where a mask is not 0 (NaN counts as not 0).
 * @param x any shape and dtype
 * @param mask any dtype; it broadcasts to the shape of x
 * @param value a number, or a tensor of the dtype of x that broadcasts to its shape
 * @returns a tensor of the shape and dtype of x
 * @throws ShapeError for a mask or a value that does not broadcast to the shape of x, a value of another dtype, or a number that int32 does not
 *   hold
 */
export function maskedFill(x: Tensor, mask: Tensor, value: Tensor | number, ...extra: []): Tensor {
  checkTensor('maskedFill', x)
  checkTensor('maskedFill', mask, 'the mask')
  checkOperand('maskedFill', value, 'the value')
  checkNoMore('maskedFill', extra)
  deviceOf('maskedFill', [x, mask, typeof value === 'number' ? undefined : value])
  if (typeof value !== 'number' && value.dtype !== x.dtype)
    throw mismatch('maskedFill', [x, value], 'a value of the dtype of x')
  for (const t of [mask, value]) {
    if (typeof t !== 'number' && format(broadcastShapes('maskedFill', x.shape, t.shape)) !== format(x.shape)) {
      throw mismatch('maskedFill', [x, t], 'a mask and a value that broadcast to the shape of x')
    }
  }
  return where(mask, value, x)
}
