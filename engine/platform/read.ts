import { type FileHandle, open } from 'node:fs/promises'
import { reason, UserError } from '../base/errors.ts'
import type { OpenFile } from './types.ts'

/**
 * Reads a whole file, pipe or device, see `Files.read`. A file that is too long is not read at all, and a pipe or device is not read
 * further.
 */
export async function readWhole(path: string, most = Number.POSITIVE_INFINITY): Promise<Uint8Array> {
  try {
    const file = await open(path, 'r')
    try {
      const found = await file.stat()
      if (found.isFile() && found.size <= most) return await file.readFile()
      if (found.isDirectory()) throw new UserError(`${path}: is a folder; name a file`)
      if (!found.isFile()) {
        const bytes = await readPieces(file.createReadStream({ autoClose: false }), most)
        if (bytes) return bytes
      }
      throw new UserError(`${path}: longer than ${most} bytes, which no such file is; check the path`)
    } finally {
      await file.close()
    }
  } catch (error) {
    throw readError(path, error)
  }
}

/** The most bytes to read in one call; systems give at most 2 GiB. */
const MOST = 64 << 20

/** Opens a file to read parts of it, see `Files.open`. */
export async function openFile(path: string): Promise<OpenFile> {
  let file: FileHandle | undefined
  try {
    file = await open(path, 'r')
    const found = await file.stat()
    if (found.isDirectory()) throw new UserError(`${path}: is a folder; name a file`)
    if (found.isFile()) return partsOf(path, file, found.size)
    const whole = await file.readFile()
    await file.close()
    return {
      size: whole.length,
      read: async (offset, length) => Uint8Array.prototype.slice.call(whole, offset, offset + length).buffer as ArrayBuffer,
      close: async () => {},
    }
  } catch (error) {
    await file?.close().catch(() => {})
    throw readError(path, error)
  }
}

function partsOf(path: string, file: FileHandle, size: number): OpenFile {
  return {
    size,
    async read(offset, length) {
      const memory = allocate(path, length)
      try {
        for (let at = 0; at < length; ) {
          const piece = new Uint8Array(memory, at, Math.min(MOST, length - at))
          const { bytesRead } = await file.read(piece, 0, piece.length, offset + at)
          if (bytesRead === 0) throw new UserError(`${path}: ends before byte ${offset + length}; use an intact copy`)
          at += bytesRead
        }
      } catch (error) {
        throw readError(path, error)
      }
      return memory
    },
    close: () => file.close(),
  }
}

function allocate(path: string, length: number): ArrayBuffer {
  try {
    return new ArrayBuffer(length)
  } catch {
    throw new UserError(`${path}: ${length} bytes at once are more than this process has memory for; read less at a time`)
  }
}

function readError(path: string, error: unknown): UserError {
  if (error instanceof UserError) return error
  const code = (error as { code?: string }).code
  if (code === 'ENOENT') return new UserError(`${path}: no such file; check the path`)
  return new UserError(`${path}: cannot be read (${code ?? reason(error)}); check the path and its permissions`)
}

/** Joins pieces. @returns undefined as soon as they are more than `most` bytes */
async function readPieces(pieces: AsyncIterable<Uint8Array>, most: number): Promise<Uint8Array | undefined> {
  const kept: Uint8Array[] = []
  let length = 0
  for await (const piece of pieces) {
    length += piece.length
    if (length > most) return undefined
    kept.push(piece)
  }
  return Buffer.concat(kept)
}
