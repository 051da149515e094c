import { ArgumentError } from './errors.ts'
import { kindOf } from './kind.ts'

/** The error for an argument of a wrong kind. @param name of the argument, where the kind alone does not tell which it is */
export function refusal(op: string, value: unknown, takes: string, name?: string): ArgumentError {
  return new ArgumentError(`${op}: got ${kindOf(value)}${name ? ` as ${name}` : ''}, takes ${takes}`)
}

/** @throws ArgumentError unless it is a function */
export function checkFunction(op: string, value: unknown, name?: string): void {
  if (typeof value !== 'function') throw refusal(op, value, 'a function', name)
}

/**
 * What a function gave that must not be asynchronous, since what follows its first await would run outside.
 * @throws ArgumentError for a promise
 */
export function synchronous<T>(op: string, result: T): T {
  if (result instanceof Promise) {
    // What it goes on to do fails or not; the caller gets this error.
    result.catch(() => {})
    throw new ArgumentError(`${op}: the function is asynchronous; await data outside`)
  }
  return result
}

/**
 * Refuses arguments that an op does not have, such as options: ignored, they would change nothing without a word. What
 * `Array.prototype.map` and `reduce` pass behind the values, an index and the array, is let pass.
 * @throws ArgumentError
 */
export function checkNoMore(op: string, extra: readonly unknown[]): void {
  if (extra.length === 0 || (extra.length === 2 && typeof extra[0] === 'number' && Array.isArray(extra[1]))) return
  const given = extra.find((one) => one !== undefined)
  if (given !== undefined)
    throw new ArgumentError(`${op}: got ${kindOf(given)} behind its arguments, takes no more${optionsOf(given)}`)
}

/** The names of options, where a value is an object of them. */
function optionsOf(value: unknown): string {
  const plain = typeof value === 'object' && value !== null && Object.getPrototypeOf(value) === Object.prototype
  return plain ? ` (no option ${Object.keys(value).join(', ')})` : ''
}

/** @throws ArgumentError unless it is true or false */
export function checkBoolean(op: string, value: unknown, name: string): void {
  if (typeof value !== 'boolean') throw refusal(op, value, 'true or false', name)
}

/** @throws ArgumentError for what is no text, or an empty one */
export function checkText(op: string, value: unknown, name: string): void {
  if (typeof value !== 'string' || value === '') throw refusal(op, value, 'a text', name)
}

/** @throws ArgumentError for what is no number; NaN is one */
export function checkNumber(op: string, value: unknown, name: string): void {
  if (typeof value !== 'number') throw refusal(op, value, 'a number', name)
}

/** @throws ArgumentError unless it is a whole number from `least` to `most` */
export function checkWhole(op: string, value: unknown, name: string, least = 1, most = Number.MAX_SAFE_INTEGER): void {
  if (Number.isInteger(value) && (value as number) >= least && (value as number) <= most) return
  const range = most === Number.MAX_SAFE_INTEGER ? `of at least ${least}, below 2^53` : `from ${least} to ${most}`
  throw refusal(op, value, `a whole number ${range}`, name)
}
