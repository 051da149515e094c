import { basename } from 'node:path'
import { parseTar } from 'nanotar'
import { UserError } from '../../engine/base/errors.ts'

/** Largest number of entries of an archive; the archives of the data sets have far fewer. */
const MAX_ENTRIES = 1000

/**
 * Unpacks regular files of a tar archive, from any of its folders.
 * @param where the archive's name, which starts every error message
 * @param wanted base names of the files
 * @returns the files that the archive has, by base name
 * @throws UserError when the archive is truncated or corrupt, or has a name twice
 */
export function unpackTar(bytes: Uint8Array, where: string, wanted: readonly string[]): Map<string, Uint8Array> {
  const found = new Map<string, Uint8Array>()
  for (const { name, data, size } of members(bytes, where, wanted)) {
    const own = basename(name)
    if (data?.length !== size) continue
    if (found.has(own)) throw new UserError(`${where}: holds ${own} twice; fetch the file again`)
    found.set(own, data)
  }
  return found
}

function members(bytes: Uint8Array, where: string, wanted: readonly string[]) {
  // The parser reads the buffer of a view from the buffer's start.
  const whole = bytes.byteOffset === 0 && bytes.byteLength === bytes.buffer.byteLength
  let entries = 0
  try {
    const found = parseTar(whole ? bytes : bytes.slice(), {
      filter({ name, type, size }) {
        // A negative size would lead back to an earlier entry, in an endless loop.
        if (!(Number.isSafeInteger(size) && size >= 0) || ++entries > MAX_ENTRIES) throw new RangeError('spoiled')
        return type === 'file' && wanted.includes(basename(name))
      },
    })
    if (entries > 0) return found
  } catch {
    // The parser throws a RangeError for a member that ends after the archive's end.
  }
  throw new UserError(`${where}: truncated or no tar archive; fetch the file again`)
}
