import { isDeepStrictEqual } from 'node:util'

/** Fails unless both values are equal; arrays of any kind are compared by their values. */
export function equal(actual: unknown, expected: unknown, what: string): void {
  const [found, wanted] = [plain(actual), plain(expected)]
  if (isDeepStrictEqual(found, wanted)) return
  if (Array.isArray(found) && Array.isArray(wanted) && found.length === wanted.length) {
    const at = wanted.findIndex((item, i) => !isDeepStrictEqual(found[i], item))
    throw new Error(`${what}: [${at}] is ${show(found[at])}, expected ${show(wanted[at])}`)
  }
  throw new Error(`${what}: ${show(found)}, expected ${show(wanted)}`)
}

function plain(value: unknown): unknown {
  return ArrayBuffer.isView(value) ? Array.from(value as Uint8Array) : value
}

function show(value: unknown): string {
  return (JSON.stringify(value) ?? String(value)).slice(0, 200)
}
