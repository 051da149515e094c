import { createHash } from 'node:crypto'
import { canonical } from './canonical.ts'

/** Returns the hash of a value as JSON, or of bytes: 20 hexadecimal digits. */
export function hashOf(...values: readonly unknown[]): string {
  const hash = createHash('sha256')
  for (const value of values)
    hash.update(ArrayBuffer.isView(value) ? new Uint8Array(value.buffer, value.byteOffset, value.byteLength) : canonical(value))
  return hash.digest('hex').slice(0, 20)
}
