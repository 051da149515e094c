import leven from 'leven'
import { ArgumentError } from './errors.ts'
import { isTensorLike, kindOf } from './kind.ts'

/** Every option of `T` by name, so that the compiler says when one is added and not listed. */
export type OptionNames<T> = { readonly [name in keyof Required<T>]: true }

/**
 * Refuses options that do not exist, which would else be ignored without a word.
 * @param op what takes them, for the message
 * @param options undefined where none were given, which costs nothing
 * @throws ArgumentError for what is no object of options, and for an unknown name, with the nearest one that there is
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

/** ` (did you mean "requiresGrad"?)` for the nearest name, or nothing where none is near. */
export function suggestion(name: string, known: readonly string[]): string {
  const near = nearest(name, known)
  return near === undefined ? '' : ` (did you mean ${JSON.stringify(near)}?)`
}

/** The known name that is most like `name`, upper case, `_` and `-` left aside: half of its letters must be right. */
export function nearest(name: string, known: readonly string[]): string | undefined {
  const plain = (text: string) => text.slice(0, 100).replace(/[_-]/g, '').toLowerCase()
  const asked = plain(name)
  let [found, least] = [undefined as string | undefined, Number.POSITIVE_INFINITY]
  for (const one of known) {
    const distance = leven(asked, plain(one))
    if (distance < least) [found, least] = [one, distance]
  }
  return least <= asked.length / 2 ? found : undefined
}
