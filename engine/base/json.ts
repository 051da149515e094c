import * as v from 'valibot'
import { UserError } from './errors.ts'
import { kindOf } from './kind.ts'

// Schemas of JSON that comes from files. Every message is a noun: what a value has to be.

const COUNT = 'a whole number of at least 0, below 2^53'

/** A whole number of at least 0. */
export const count = v.pipe(v.number(COUNT), v.safeInteger(COUNT), v.minValue(0, COUNT))

/** A finite number of at least 0. */
export const amount = v.pipe(v.number('a number'), v.finite('a finite number'), v.minValue(0, 'a number of at least 0'))

/** A number. JSON has no NaN and no infinities; what `JSON.stringify` makes of them, null, is NaN. */
export const numberOrNaN = v.pipe(
  v.nullable(v.number('a number')),
  v.transform((value) => value ?? Number.NaN),
)

export const text = v.string('a text')

/** An object with these keys at least; others are left out. */
export function fields<const E extends v.ObjectEntries>(entries: E) {
  return v.object(entries, 'an object')
}

/** A list of what the schema takes. */
export function listOf<const S extends v.GenericSchema>(item: S) {
  return v.array(item, 'a list')
}

/** An object with any keys. */
export function mapOf<const S extends v.GenericSchema>(value: S) {
  const noList = v.check((given: unknown) => !Array.isArray(given), 'an object')
  return v.pipe(v.unknown(), noList, v.record(v.string(), value, 'an object'))
}

/**
 * The value of a JSON text, checked.
 * @param what it is, which starts every message
 * @throws UserError in one line that names the field, what it is and what it has to be
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

/** What a schema takes, or undefined. */
export function accepted<const S extends v.GenericSchema>(schema: S, value: unknown): v.InferOutput<S> | undefined {
  const result = v.safeParse(schema, value, { abortEarly: true })
  return result.success ? result.output : undefined
}

function problem(issue: v.BaseIssue<unknown>): string {
  const path = v.getDotPath(issue)?.slice(0, 200)
  if (path === undefined) return `it is ${kindOf(issue.input)}, not ${issue.message}`
  // A key that an object lacks is reported by the object, whose message says what that is.
  const lacks = issue.type === 'object' && issue.input === undefined
  return lacks ? `it lacks ${path}` : `${path} is ${kindOf(issue.input)}, not ${issue.message}`
}
