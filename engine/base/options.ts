import leven from 'leven'
import { ArgumentError } from './errors.ts'
import { isTensorLike, kindOf } from './kind.ts'

/** Lists every option of `T` by name, so that the compiler reports a new option that is not listed. */
export type OptionNames<T> = { readonly [name in keyof Required<T>]: true }

/**
 * Refuses options that do not exist, which would otherwise be ignored in silence.
 * @param op the function that takes the options, for the message
 * @param options may be undefined, which costs nothing
 * @param known the options that exist
 * @throws ArgumentError for a value that is no object of options, and for an unknown name; the message has the nearest known one
 */
export function checkOptions<T extends object>(op: string, options: T | undefined, known: OptionNames<T>): void {
  if (options === undefined) return
  if (!isOptions(options)) {
    const example = Object.keys(known)[0]
    throw new ArgumentError(`${op}: got ${kindOf(options)} as options, takes an object such as { ${example}: … }`)
  }
  for (const name in options) if (!Object.hasOwn(known, name)) throw unknownOption(op, name, Object.keys(known))
}

function isOptions(value: unknown): boolean {
  if (typeof value !== 'object' || value === null || ArrayBuffer.isView(value)) return false
  return !(Symbol.iterator in value || 'then' in value || isTensorLike(value))
}

function unknownOption(op: string, name: string, known: readonly string[]): ArgumentError {
  return new ArgumentError(`${op}: unknown option ${kindOf(name)}${suggestion(name, known)}; it takes ${known.join(', ')}`)
}

/** Returns text such as ` (did you mean "requiresGrad"?)`, or an empty string where no known name is near. */
export function suggestion(name: string, known: readonly string[]): string {
  const near = nearest(name, known)
  return near === undefined ? '' : ` (did you mean ${JSON.stringify(near)}?)`
}

/**
 * Finds the known name with the smallest edit distance to `name`, ignoring case, `_` and `-`.
 * @returns undefined where that distance is more than half the length of `name`
 */
export function nearest(name: string, known: readonly string[]): string | undefined {
  const plain = (text: string) => text.slice(0, 100).replace(/[_-]/g, '').toLowerCase()
  const asked = plain(name)
  let [found, least] = [undefined as string | undefined, Number.POSITIVE_INFINITY]
  for (const candidate of known) {
    const distance = leven(asked, plain(candidate))
    if (distance < least) [found, least] = [candidate, distance]
  }
  return least <= asked.length / 2 ? found : undefined
}
