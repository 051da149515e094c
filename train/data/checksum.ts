import { createHash } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { stat } from 'node:fs/promises'
import { resolve } from 'node:path'
import { pipeline } from 'node:stream/promises'
import { reason, UserError } from '../../engine/base/errors.ts'

/** Checksums by path, size and time of change, since many runs of a process read the same files. */
const known = new Map<string, Promise<string>>()

/** Returns the SHA-256 of a file in hexadecimal. @throws UserError when it cannot be read */
export async function sha256Of(path: string): Promise<string> {
  try {
    const { size, mtimeMs } = await stat(path)
    const key = `${resolve(path)} ${size} ${mtimeMs}`
    let sum = known.get(key)
    if (!sum) {
      sum = compute(path)
      sum.catch(() => known.delete(key))
      known.set(key, sum)
    }
    return await sum
  } catch (error) {
    throw new UserError(`${path}: cannot be read (${reason(error)})`)
  }
}

async function compute(path: string): Promise<string> {
  const hash = createHash('sha256')
  await pipeline(createReadStream(path), hash)
  return hash.digest('hex')
}
