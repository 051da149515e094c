import { ArgumentError } from './errors.ts'
import { kindOf } from './kind.ts'

/** Makes the error for an argument of a wrong kind. @param name the argument's name, where the kind does not tell which argument it is */
export function refusal(op: string, value: unknown, takes: string, name?: string): ArgumentError {
  return new ArgumentError(`${op}: got ${kindOf(value)}${name ? ` as ${name}` : ''}, takes ${takes}`)
}

/** @throws ArgumentError unless `value` is a function */
export function checkFunction(op: string, value: unknown, name?: string): void {
  if (typeof value !== 'function') throw refusal(op, value, 'a function', name)
}

/**
 * Returns the result of a function that must not be asynchronous: what follows its first await would run after `op` has ended.
 * @throws ArgumentError for a promise
 */
export function synchronous<T>(op: string, result: T): T {
  if (result instanceof Promise) {
    // The caller gets the ArgumentError, so a later rejection of the promise must not become an unhandled one.
    result.catch(() => {})
    throw new ArgumentError(`${op}: the function is asynchronous; await data outside`)
  }
  return result
}

/**
 * Refuses arguments that an op does not have, such as options, which would otherwise be ignored in silence. The index and the array that
 * `Array.prototype.map` and `reduce` add to their values are allowed.
 * @throws ArgumentError for any other argument that is not undefined
 */
export function checkNoMore(op: string, extra: readonly unknown[]): void {
  if (extra.length === 0 || (extra.length === 2 && typeof extra[0] === 'number' && Array.isArray(extra[1]))) return
  const unknown = extra.find((value) => value !== undefined)
  if (unknown !== undefined)
    throw new ArgumentError(`${op}: got ${kindOf(unknown)} behind its arguments, takes no more${optionsOf(unknown)}`)
}

/** Names the options in a value that is a plain object. */
function optionsOf(value: unknown): string {
  const plain = typeof value === 'object' && value !== null && Object.getPrototypeOf(value) === Object.prototype
  return plain ? ` (no option ${Object.keys(value).join(', ')})` : ''
}

/** @throws ArgumentError unless `value` is an object with keys, which lists, maps and typed arrays are not */
export function checkObject(
  op: string,
  value: unknown,
  takes: string,
  name?: string,
): asserts value is Record<string, unknown> {
  if (typeof value !== 'object' || value === null || Symbol.iterator in value) throw refusal(op, value, takes, name)
}

/** @throws ArgumentError unless `value` is a list of at least `least` entries */
export function checkList(
  op: string,
  value: unknown,
  takes: string,
  name: string,
  least = 0,
): asserts value is readonly unknown[] {
  if (!Array.isArray(value) || value.length < least) throw refusal(op, value, takes, name)
}

/** @throws ArgumentError unless `value` is one of `choices` */
export function checkChoice(op: string, value: unknown, choices: readonly string[], name: string): void {
  if (!choices.includes(value as string)) throw refusal(op, value, `one of ${choices.join(', ')}`, name)
}

/** @throws ArgumentError unless `value` is true or false */
export function checkBoolean(op: string, value: unknown, name: string): void {
  if (typeof value !== 'boolean') throw refusal(op, value, 'true or false', name)
}

/** @throws ArgumentError unless `value` is a string that is not empty */
export function checkText(op: string, value: unknown, name: string): void {
  if (typeof value !== 'string' || value === '') throw refusal(op, value, 'a text', name)
}

/** @throws ArgumentError unless `value` is a number, which NaN is */
export function checkNumber(op: string, value: unknown, name: string): void {
  if (typeof value !== 'number') throw refusal(op, value, 'a number', name)
}

/** @throws ArgumentError unless `value` is a whole number from `least` to `most` */
export function checkWhole(op: string, value: unknown, name: string, least = 1, most = Number.MAX_SAFE_INTEGER): void {
  if (Number.isInteger(value) && (value as number) >= least && (value as number) <= most) return
  const range = most === Number.MAX_SAFE_INTEGER ? `of at least ${least}, below 2^53` : `from ${least} to ${most}`
  throw refusal(op, value, `a whole number ${range}`, name)
}
