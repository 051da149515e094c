import { basename } from 'node:path'
import { parseTar } from 'nanotar'
import { UserError } from '../../engine/errors.ts'

/** The regular files of a tar archive by base name (CIFAR's archives have one flat folder). UserError when cut short. */
export function unpackTar(bytes: Uint8Array, where: string): Map<string, Uint8Array> {
  try {
    // The parser reads the memory under a view from its start, so it gets memory of its own.
    const members = parseTar(bytes.slice().buffer)
    const files = members.filter(({ type, data, size }) => type === 'file' && data?.length === size)
    if (files.length > 0) return new Map(files.map(({ name, data }) => [basename(name), data!]))
  } catch {
    // A member that ends past the archive's end is a RangeError.
  }
  throw new UserError(`${where}: truncated or no tar archive; fetch the file again`)
}
