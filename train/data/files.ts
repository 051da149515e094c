import { promisify } from 'node:util'
import { gunzip } from 'node:zlib'
import { files } from '#platform'
import { reason, UserError } from '../../engine/errors.ts'

const inflate = promisify(gunzip)

/** Reads a file, and unpacks it when its first two bytes are gzip's. UserError when missing, unreadable or corrupt. */
export async function readMaybeGzip(path: string): Promise<Uint8Array> {
  const bytes = await files.read(path)
  if (bytes[0] !== 0x1f || bytes[1] !== 0x8b) return bytes
  try {
    return await inflate(bytes)
  } catch (error) {
    throw new UserError(`${path}: corrupt or truncated gzip (${reason(error)}); fetch the file again`)
  }
}

/** Bytes that a worker thread can read without a copy. */
export function sharedBytes(length: number): Uint8Array {
  return new Uint8Array(typeof SharedArrayBuffer === 'undefined' ? new ArrayBuffer(length) : new SharedArrayBuffer(length))
}
