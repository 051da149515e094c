import { promisify } from 'node:util'
import { constants, gunzip } from 'node:zlib'
import { files } from '#platform'
import { reason, UserError } from '../../engine/base/errors.ts'

const inflate = promisify(gunzip)

/** No file of a data set is longer, packed or not. */
const MAX_BYTES = 2 ** 30

/** Packed bytes that the first bytes of the content are taken from. */
const HEAD = 1024

/** A file of a data set, plain or gzipped. */
export interface DataFile {
  /** The first bytes of the content, at least as many as a header has where there are so many. */
  head: Uint8Array
  /**
   * The content.
   * @param most bytes; what unpacks to more is refused as soon as it does
   * @throws UserError when the file is corrupt or truncated, or holds more
   */
  read(most: number): Promise<Uint8Array>
}

/** Opens a file, which is unpacked when its first two bytes are gzip's. UserError when missing, unreadable or longer than 1 GiB. */
export async function openDataFile(path: string): Promise<DataFile> {
  const bytes = await files.read(path, MAX_BYTES)
  if (bytes[0] !== 0x1f || bytes[1] !== 0x8b) return { head: bytes, read: async () => bytes }
  // A beginning is as much as it is; what follows is complained of when all is read.
  const head = await inflate(bytes.subarray(0, HEAD), { finishFlush: constants.Z_SYNC_FLUSH }).catch((error) => {
    throw corrupt(path, error)
  })
  return { head, read: (most) => unpack(bytes, path, most) }
}

/** Reads a file, plain or gzipped, whose content has no more than `most` bytes. @throws UserError like `DataFile` */
export async function readMaybeGzip(path: string, most: number): Promise<Uint8Array> {
  const bytes = await (await openDataFile(path)).read(most)
  if (bytes.length > most) throw tooLong(path, most)
  return bytes
}

async function unpack(bytes: Uint8Array, path: string, most: number): Promise<Uint8Array> {
  if (most > MAX_BYTES)
    throw new UserError(`${path}: says that it holds ${most} bytes, more than 1 GiB; use the data set's own file`)
  try {
    return await inflate(bytes, { maxOutputLength: Math.max(1, most) })
  } catch (error) {
    if ((error as { code?: string }).code === 'ERR_BUFFER_TOO_LARGE') throw tooLong(path, most)
    throw corrupt(path, error)
  }
}

function corrupt(path: string, error: unknown): UserError {
  return new UserError(`${path}: corrupt or truncated gzip (${reason(error)}); fetch the file again`)
}

function tooLong(path: string, most: number): UserError {
  return new UserError(`${path}: too long, unpacks to more than the ${most} bytes that it may have; fetch the file again`)
}

/** Bytes that a worker thread can read without a copy. */
export function sharedBytes(length: number): Uint8Array {
  return new Uint8Array(typeof SharedArrayBuffer === 'undefined' ? new ArrayBuffer(length) : new SharedArrayBuffer(length))
}
