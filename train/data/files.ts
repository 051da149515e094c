import { readFile } from 'node:fs/promises'
import { promisify } from 'node:util'
import { gunzip } from 'node:zlib'
import { reason, UserError } from '../../engine/errors.ts'

const inflate = promisify(gunzip)

/** Whether an error is of the file system, and which (`ENOENT`, ...). */
export function fileErrorCode(error: unknown): string | undefined {
  const code = (error as { code?: unknown } | undefined)?.code
  return typeof code === 'string' ? code : undefined
}

/** Reads a file, and unpacks it when its first two bytes are gzip's. UserError when missing, unreadable or corrupt. */
export async function readMaybeGzip(path: string): Promise<Uint8Array> {
  let bytes: Uint8Array
  try {
    bytes = await readFile(path)
  } catch (error) {
    const code = fileErrorCode(error)
    if (code === 'ENOENT') throw new UserError(`${path}: no such file; name the folder that holds it or use --download`)
    throw new UserError(`${path}: cannot be read (${code ?? reason(error)}); check the path and its permissions`)
  }
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
