import { ArgumentError } from './errors.ts'
import { isTensorLike, kindOf } from './kind.ts'
import { format } from './shape.ts'
import { Tensor } from './tensor.ts'

/** The error for an argument of a wrong kind. @param name of the argument, where the kind alone does not tell which it is */
export function refusal(op: string, value: unknown, takes: string, name?: string): ArgumentError {
  return new ArgumentError(`${op}: got ${kindOf(value)}${name ? ` as ${name}` : ''}, takes ${takes}`)
}

/** @throws ArgumentError for what is no tensor, or one that was disposed */
export function checkTensor(op: string, value: unknown, name?: string): asserts value is Tensor {
  if (!(value instanceof Tensor) || value.disposed) throw badTensor(op, value, 'a tensor', name)
}

/** @throws ArgumentError unless it is undefined or a live tensor */
export function checkOptionalTensor(op: string, value: unknown, name?: string): asserts value is Tensor | undefined {
  if (value !== undefined) checkTensor(op, value, name)
}

/** @throws ArgumentError unless it is a number or a live tensor */
export function checkOperand(op: string, value: unknown, name?: string): asserts value is Tensor | number {
  if (typeof value === 'number') return
  if (!(value instanceof Tensor) || value.disposed) throw badTensor(op, value, 'a tensor or a number', name)
}

/** @throws ArgumentError unless it is a list of live tensors, which may be empty */
export function checkTensors(op: string, value: unknown): asserts value is readonly Tensor[] {
  if (!Array.isArray(value)) throw refusal(op, value, 'a list of tensors')
  for (let i = 0; i < value.length; i++) checkTensor(op, value[i], `number ${i} of the list`)
}

/** @throws ArgumentError unless it is a function */
export function checkFunction(op: string, value: unknown, name?: string): void {
  if (typeof value !== 'function') throw refusal(op, value, 'a function', name)
}

/** @throws ArgumentError unless it is true or false */
export function checkBoolean(op: string, value: unknown, name: string): void {
  if (typeof value !== 'boolean') throw refusal(op, value, 'true or false', name)
}

/** @throws ArgumentError for what is no number; NaN is one */
export function checkNumber(op: string, value: unknown, name: string): void {
  if (typeof value !== 'number') throw refusal(op, value, 'a number', name)
}

function badTensor(op: string, value: unknown, takes: string, name?: string): ArgumentError {
  if (value instanceof Tensor) {
    return new ArgumentError(`${op}: a tensor of shape ${format(value.shape)} was used after it was disposed`)
  }
  const foreign = typeof value === 'object' && value !== null && isTensorLike(value)
  return refusal(op, value, foreign ? `${takes} of this copy of the package; install it once` : takes, name)
}
