import { basename } from 'node:path'
import { UserError } from '../../engine/errors.ts'

const BLOCK = 512

/** The regular files of a tar archive by base name (CIFAR's archives have one flat folder). UserError when cut short. */
export function readTar(bytes: Uint8Array, where: string): Map<string, Uint8Array> {
  const files = new Map<string, Uint8Array>()
  const text = (from: number, length: number) =>
    new TextDecoder('latin1').decode(bytes.subarray(from, from + length)).split('\0')[0]!
  let at = 0
  while (at + BLOCK <= bytes.length && bytes[at] !== 0) {
    const size = Number.parseInt(text(at + 124, 12).trim() || '0', 8)
    const from = at + BLOCK
    if (!(size >= 0) || from + size > bytes.length) {
      throw new UserError(`${where}: truncated or no tar archive; fetch the file again`)
    }
    const type = bytes[at + 156]
    if (type === 0x30 || type === 0) files.set(basename(text(at, 100)), bytes.subarray(from, from + size))
    at = from + Math.ceil(size / BLOCK) * BLOCK
  }
  return files
}
