import { open } from 'node:fs/promises'
import { reason, UserError } from '../errors.ts'

/**
 * Reads a whole file, pipe or device.
 * @param most bytes; of a longer file nothing is read, and what has no length is read no further
 * @throws UserError in one line when it is missing, unreadable or longer
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
    if (error instanceof UserError) throw error
    const code = (error as { code?: string }).code
    if (code === 'ENOENT') throw new UserError(`${path}: no such file; check the path`)
    throw new UserError(`${path}: cannot be read (${code ?? reason(error)}); check the path and its permissions`)
  }
}

/** What comes in pieces, or undefined as soon as it is more than `most` bytes. */
export async function readPieces(pieces: AsyncIterable<Uint8Array>, most: number): Promise<Uint8Array | undefined> {
  const kept: Uint8Array[] = []
  let length = 0
  for await (const piece of pieces) {
    length += piece.length
    if (length > most) return undefined
    kept.push(piece)
  }
  return Buffer.concat(kept)
}
