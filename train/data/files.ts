import { files, gunzip } from '#platform'
import { reason, UserError } from '../../engine/base/errors.ts'

/** Bytes of the longest file of a data set, packed or not. */
const MAX_BYTES = 2 ** 30

/** Number of packed bytes from which `head` is unpacked. */
const HEAD = 1024

/** A file of a data set, plain or gzipped. */
export interface DataFile {
  /** The first bytes of the content, enough for a header if the file has one. */
  head: Uint8Array
  /**
   * Reads the content.
   * @param max bytes after which unpacking fails; a plain file is returned whole
   * @throws UserError when the file is corrupt or truncated, or unpacks to more
   */
  read(max: number): Promise<Uint8Array>
}

/**
 * Opens a file, which counts as packed when it begins with the two bytes of gzip.
 * @throws UserError when it is missing, unreadable or longer than 1 GiB
 */
export async function openDataFile(path: string): Promise<DataFile> {
  const bytes = await files.read(path, MAX_BYTES)
  if (bytes[0] !== 0x1f || bytes[1] !== 0x8b) return { head: bytes, read: async () => bytes }
  // A head may be incomplete; `read` checks the rest.
  const head = await gunzip(bytes.subarray(0, HEAD), { partial: true }).catch((error) => {
    throw corrupt(path, error)
  })
  return { head: head!, read: (max) => unpack(bytes, path, max) }
}

/** Reads a file, plain or gzipped, of at most `max` bytes of content. @throws UserError for a longer, corrupt or truncated one */
export async function readMaybeGzip(path: string, max: number): Promise<Uint8Array> {
  const bytes = await (await openDataFile(path)).read(max)
  if (bytes.length > max) throw tooLong(path, max)
  return bytes
}

async function unpack(bytes: Uint8Array, path: string, max: number): Promise<Uint8Array> {
  if (max > MAX_BYTES)
    throw new UserError(`${path}: says that it holds ${max} bytes, more than 1 GiB; use the data set's own file`)
  const found = await gunzip(bytes, { most: max }).catch((error) => {
    throw corrupt(path, error)
  })
  if (!found) throw tooLong(path, max)
  return found
}

function corrupt(path: string, error: unknown): UserError {
  return new UserError(`${path}: corrupt or truncated gzip (${reason(error)}); fetch the file again`)
}

function tooLong(path: string, max: number): UserError {
  return new UserError(`${path}: too long, unpacks to more than the ${max} bytes that it may have; fetch the file again`)
}

/** Allocates bytes that a worker thread can read without a copy, if the platform has shared memory. */
export function sharedBytes(length: number): Uint8Array {
  return new Uint8Array(typeof SharedArrayBuffer === 'undefined' ? new ArrayBuffer(length) : new SharedArrayBuffer(length))
}
