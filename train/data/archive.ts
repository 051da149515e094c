import { basename } from 'node:path'
import { parseTar } from 'nanotar'
import { UserError } from '../../engine/base/errors.ts'

/** Entries of the data sets' own archives are far fewer. */
const MAX_ENTRIES = 1000

/**
 * Regular files of a tar archive by base name, those of `wanted` only, whatever folder they lie in (CIFAR's archives have one).
 * @throws UserError when the archive is cut short or spoiled, or holds a name twice
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
  // The parser reads the memory under a view from its start.
  const whole = bytes.byteOffset === 0 && bytes.byteLength === bytes.buffer.byteLength
  let entries = 0
  try {
    const found = parseTar(whole ? bytes : bytes.slice(), {
      filter({ name, type, size }) {
        // A size below 0 would lead back to an entry before, for ever.
        if (!(Number.isSafeInteger(size) && size >= 0) || ++entries > MAX_ENTRIES) throw new RangeError('spoiled')
        return type === 'file' && wanted.includes(basename(name))
      },
    })
    if (entries > 0) return found
  } catch {
    // A member that ends past the archive's end is a RangeError.
  }
  throw new UserError(`${where}: truncated or no tar archive; fetch the file again`)
}
