import { basename } from 'node:path'
import { parseTar } from 'nanotar'
import { UserError } from '../../engine/base/errors.ts'

/** Largest number of entries of an archive; the archives of the data sets have far fewer. */
const MAX_ENTRIES = 1000

/**
 * Unpacks regular files of a tar archive.
 * @param where the archive's name, which starts every error message
 * @param wanted names of the files
 * @param nameOf the name of a file by its path in the archive; by default its base name
 * @returns the files that the archive has, by name
 * @throws UserError when the archive is truncated or corrupt, or has a name twice
 */
export function unpackTar(
  bytes: Uint8Array,
  where: string,
  wanted: readonly string[],
  nameOf: (path: string) => string = basename,
): Map<string, Uint8Array> {
  const found = new Map<string, Uint8Array>()
  for (const { name, data, size } of members(bytes, where, (path) => wanted.includes(nameOf(path)))) {
    const own = nameOf(name)
    if (data?.length !== size) continue
    if (found.has(own)) throw new UserError(`${where}: holds ${own} twice; fetch the file again`)
    found.set(own, data)
  }
  return found
}

function members(bytes: Uint8Array, where: string, isWanted: (path: string) => boolean) {
  // The parser reads the buffer of a view from the buffer's start.
  const whole = bytes.byteOffset === 0 && bytes.byteLength === bytes.buffer.byteLength
  let entries = 0
  try {
    const found = parseTar(whole ? bytes : bytes.slice(), {
      filter({ name, type, size }) {
        // A negative size would lead back to an earlier entry, in an endless loop.
        if (!(Number.isSafeInteger(size) && size >= 0) || ++entries > MAX_ENTRIES) throw new RangeError('spoiled')
        return type === 'file' && isWanted(name)
      },
    })
    if (entries > 0) return found
  } catch {
    // The parser throws a RangeError for a member that ends after the archive's end.
  }
  throw new UserError(`${where}: truncated or no tar archive; fetch the file again`)
}
