import { lstatSync } from 'node:fs'
import { access, constants, mkdir, readFile, rm } from 'node:fs/promises'
import { homedir, tmpdir } from 'node:os'
import { isAbsolute, join } from 'node:path'
import { reason, UserError } from '../base/errors.ts'
import { makeFolder, writeFile } from './files.ts'
import type { Texts } from './types.ts'

/**
 * Folders for things that can be made again, the preferred one first: $XDG_CACHE_HOME/paraformer or ~/.cache/paraformer, then a private one
 * among the temporary files, for users without a home and for homes that cannot be written. None of them need exist.
 */
export function cacheFolders(): string[] {
  const home = userCache()
  const own = join(tmpdir(), `paraformer-${process.getuid?.() ?? 'cache'}`)
  return [...(home === undefined ? [] : [join(home, 'paraformer')]), ...(isPrivate(own) ? [own] : [])]
}

/**
 * Makes a folder of the cache in the first place that takes it.
 * @returns its path
 * @throws UserError when no place does
 */
export async function makeCacheFolder(name: string): Promise<string> {
  let failure: string | undefined
  for (const cache of cacheFolders()) {
    try {
      const folder = join(cache, name)
      // Nobody else is to write what this user runs. A missing parent or an existing folder is the next line's business.
      await mkdir(cache, { mode: 0o700 }).catch(() => {})
      await makeFolder(folder)
      await access(folder, constants.W_OK | constants.X_OK)
      return folder
    } catch (error) {
      failure ??= `${cache} cannot be written: ${(error as { code?: string }).code ?? reason(error)}`
    }
  }
  throw new UserError(
    `no cache folder for ${name} (${failure ?? 'neither a home nor a temporary folder'}); set XDG_CACHE_HOME to a folder that is writable`,
  )
}

/** Texts as files of the cache. What a later folder holds was written when those before it took nothing, so it is the newest. */
export const texts: Texts = {
  async read(name) {
    for (const cache of cacheFolders().reverse()) {
      const text = await readFile(join(cache, name), 'utf8').catch(() => undefined)
      if (text !== undefined) return text
    }
    return undefined
  },
  async write(name, text) {
    const parts = name.split('/')
    const folder = await makeCacheFolder(join(...parts.slice(0, -1)))
    const path = join(folder, parts.at(-1)!)
    await writeFile(path, text)
    for (const cache of cacheFolders()) {
      const other = join(cache, name)
      if (other !== path) await rm(other, { force: true }).catch(() => {})
    }
  },
}

/** Where the user's programs cache things, or undefined for a user without a home. Relative paths are no valid setting. */
function userCache(): string | undefined {
  const { XDG_CACHE_HOME: named = '' } = process.env
  if (isAbsolute(named)) return named
  let home = ''
  try {
    home = homedir()
  } catch {
    // Neither HOME nor an entry in the list of users.
  }
  return isAbsolute(home) ? join(home, '.cache') : undefined
}

/** Whether a folder is absent, or can be written by this user alone: everybody can make one among the temporary files. */
function isPrivate(folder: string): boolean {
  try {
    const found = lstatSync(folder, { throwIfNoEntry: false })
    if (!found || !process.getuid) return true
    return found.isDirectory() && found.uid === process.getuid() && (found.mode & 0o022) === 0
  } catch {
    return false
  }
}
