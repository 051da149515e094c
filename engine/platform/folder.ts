import { createHash } from 'node:crypto'
import type { Dirent } from 'node:fs'
import { readdir, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { reason, UserError } from '../base/errors.ts'
import type { FolderEntry, Platform } from './types.ts'

/** Lists a folder, see `Files.entries`. */
export async function entries(path: string): Promise<FolderEntry[]> {
  let found: Dirent[]
  try {
    found = await readdir(path, { withFileTypes: true })
  } catch (error) {
    const { code = reason(error) } = error as { code?: string }
    const what = { ENOENT: 'no such folder', ENOTDIR: 'is no folder' }[code] ?? `cannot be read (${code})`
    throw new UserError(`${path}: ${what}; check the path and its permissions`)
  }
  return Promise.all(found.map((entry) => describe(entry, join(path, entry.name))))
}

async function describe(entry: Dirent, path: string): Promise<FolderEntry> {
  const { name } = entry
  if (entry.isDirectory()) return { name, kind: 'folder' }
  if (entry.isFile()) return { name, kind: 'file' }
  try {
    const found = await stat(path)
    if (found.isDirectory()) return { name, kind: 'folder' }
    return found.isFile() ? { name, kind: 'file' } : { name, kind: 'other', wrong: 'is neither a file nor a folder' }
  } catch (error) {
    const wrong = `is a link that leads nowhere (${(error as { code?: string }).code ?? reason(error)})`
    return { name, kind: 'other', wrong }
  }
}

/** Tells folders apart, see `Files.identityOf`. */
export async function identityOf(path: string): Promise<string> {
  const { dev, ino } = await stat(path)
  return `${dev}:${ino}`
}

/** Hashes bytes, see `Platform.sha256`. */
export const sha256: Platform['sha256'] = async (bytes) => createHash('sha256').update(bytes).digest('hex')
