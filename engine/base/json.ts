import * as v from 'valibot'
import { UserError } from './errors.ts'
import { kindOf } from './kind.ts'

// These are schemas for JSON from files. Each message is a noun phrase that says what a value has to be.

const COUNT = 'a whole number of at least 0, below 2^53'

/** A whole number of at least 0. */
export const count = v.pipe(v.number(COUNT), v.safeInteger(COUNT), v.minValue(0, COUNT))

/** A finite number of at least 0. */
export const amount = v.pipe(v.number('a number'), v.finite('a finite number'), v.minValue(0, 'a number of at least 0'))

/** A number. Null is NaN: JSON has no NaN and no infinities, and `JSON.stringify` writes null for them. */
export const numberOrNaN = v.pipe(
  v.nullable(v.number('a number')),
  v.transform((value) => value ?? Number.NaN),
)

export const text = v.string('a text')

/** Makes the schema of an object with at least these keys. Other keys are left out of the result. */
export function fields<const E extends v.ObjectEntries>(entries: E) {
  return v.object(entries, 'an object')
}

/** Makes the schema of a list whose items `item` takes. */
export function listOf<const S extends v.GenericSchema>(item: S) {
  return v.array(item, 'a list')
}

/** Makes the schema of an object with any keys, whose values `value` takes. */
export function mapOf<const S extends v.GenericSchema>(value: S) {
  const noList = v.check((object: unknown) => !Array.isArray(object), 'an object')
  return v.pipe(v.unknown(), noList, v.record(v.string(), value, 'an object'))
}

/**
 * Parses a JSON text and checks it.
 * @param what names the text, at the start of every message
 * @throws UserError in one line that names the field, its value and what it has to be
 */
export function parseJson<const S extends v.GenericSchema>(schema: S, json: string, what: string): v.InferOutput<S> {
  let value: unknown
  try {
    value = JSON.parse(json)
  } catch {
    throw new UserError(`${what} is not JSON: ${kindOf(json)}`)
  }
  const result = v.safeParse(schema, value, { abortEarly: true })
  if (result.success) return result.output
  throw new UserError(`${what} is malformed: ${problem(result.issues[0])}`)
}

/** Returns the value as the schema takes it, or undefined where it does not. */
export function accepted<const S extends v.GenericSchema>(schema: S, value: unknown): v.InferOutput<S> | undefined {
  const result = v.safeParse(schema, value, { abortEarly: true })
  return result.success ? result.output : undefined
}

function problem(issue: v.BaseIssue<unknown>): string {
  const path = v.getDotPath(issue)?.slice(0, 200)
  if (path === undefined) return `it is ${kindOf(issue.input)}, not ${issue.message}`
  // For a missing key valibot gives the message of the object's schema instead of that of the key's.
  const lacks = issue.type === 'object' && issue.input === undefined
  return lacks ? `it lacks ${path}` : `${path} is ${kindOf(issue.input)}, not ${issue.message}`
}
