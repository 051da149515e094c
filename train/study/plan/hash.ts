import { createHash } from 'node:crypto'

/** Returns a value with the keys of all objects in order, without what is undefined. */
function ordered(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(ordered)
  if (typeof value !== 'object' || value === null) return value
  const entries = Object.entries(value).filter(([, item]) => item !== undefined)
  return Object.fromEntries(entries.sort(([a], [b]) => (a < b ? -1 : 1)).map(([key, item]) => [key, ordered(item)]))
}

/** Returns JSON that is the same for equal values, in whatever order their keys were set. */
export function canonical(value: unknown): string {
  return JSON.stringify(ordered(value))
}

/** Returns the hash of a value as JSON, or of bytes: 20 hexadecimal digits. */
export function hashOf(...values: readonly unknown[]): string {
  const hash = createHash('sha256')
  for (const value of values)
    hash.update(ArrayBuffer.isView(value) ? new Uint8Array(value.buffer, value.byteOffset, value.byteLength) : canonical(value))
  return hash.digest('hex').slice(0, 20)
}
