import { createHash } from 'node:crypto'
import { hashParts } from './hashParts.ts'

/** Returns the hash of a value as JSON, or of bytes: 20 hexadecimal digits. */
export function hashOf(...values: readonly unknown[]): string {
  const hash = createHash('sha256')
  for (const part of hashParts(values)) hash.update(part)
  return hash.digest('hex').slice(0, 20)
}
