import { refusal } from '../base/checks.ts'
import { type ArgumentError, ShapeError } from '../base/errors.ts'
import { isTensorLike } from '../base/kind.ts'
import { format } from '../layout/shape.ts'
import { disposedError, Tensor } from './tensor.ts'

/** @throws ArgumentError unless `value` is a live tensor */
export function checkTensor(op: string, value: unknown, name?: string): asserts value is Tensor {
  if (!(value instanceof Tensor) || value.disposed) throw badTensor(op, value, 'a tensor', name)
}

/** @throws ArgumentError unless `value` is undefined or a live tensor */
export function checkOptionalTensor(op: string, value: unknown, name?: string): asserts value is Tensor | undefined {
  if (value !== undefined) checkTensor(op, value, name)
}

/** @throws ArgumentError unless `value` is a number or a live tensor */
export function checkOperand(op: string, value: unknown, name?: string): asserts value is Tensor | number {
  if (typeof value === 'number') return
  if (!(value instanceof Tensor) || value.disposed) throw badTensor(op, value, 'a tensor or a number', name)
}

/** @throws ArgumentError unless `value` is a list of live tensors; the list may be empty */
export function checkTensors(op: string, value: unknown): asserts value is readonly Tensor[] {
  if (!Array.isArray(value)) throw refusal(op, value, 'a list of tensors')
  for (let i = 0; i < value.length; i++) checkTensor(op, value[i], `number ${i} of the list`)
}

/**
 * The error for tensors whose dtypes or shapes do not suit an op.
 * @param got the tensors; missing optional ones are left out of the message
 * @param takes the dtypes and shapes that the op takes
 */
export function mismatch(op: string, got: readonly (Tensor | undefined)[], takes: string): ShapeError {
  const list = got.flatMap((t) => (t ? [`${t.dtype} ${format(t.shape)}`] : []))
  return new ShapeError(`${op}: got ${list.join(list.length === 2 ? ' and ' : ', ')}; takes ${takes}`)
}

function badTensor(op: string, value: unknown, takes: string, name?: string): ArgumentError {
  if (value instanceof Tensor) return disposedError(op, value)
  const foreign = typeof value === 'object' && value !== null && isTensorLike(value)
  return refusal(op, value, foreign ? `${takes} of this copy of the package; install it once` : takes, name)
}
