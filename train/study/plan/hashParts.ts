import { canonical } from './canonical.ts'

/** Returns the bytes that the hash of values is of: a value as JSON, bytes as they are. */
export function hashParts(values: readonly unknown[]): Uint8Array<ArrayBuffer>[] {
  return values.map((value) => {
    if (!ArrayBuffer.isView(value)) return new TextEncoder().encode(canonical(value))
    return new Uint8Array(value.buffer as ArrayBuffer, value.byteOffset, value.byteLength)
  })
}
