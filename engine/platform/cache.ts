import { lstatSync } from 'node:fs'
import { access, constants, mkdir, readFile, rm } from 'node:fs/promises'
import { homedir, tmpdir } from 'node:os'
import { isAbsolute, join } from 'node:path'
import { reason, UserError } from '../base/errors.ts'
import { makeFolder, writeFile } from './files.ts'
import type { Texts } from './types.ts'

/**
 * Lists folders for files that can be made again, the preferred one first: $XDG_CACHE_HOME/paraformer or ~/.cache/paraformer, then a private
 * folder among the temporary files, for users without a writable home. They may not exist yet.
 */
export function cacheFolders(): string[] {
  const home = userCache()
  const own = join(tmpdir(), `paraformer-${process.getuid?.() ?? 'cache'}`)
  return [...(home === undefined ? [] : [join(home, 'paraformer')]), ...(isPrivate(own) ? [own] : [])]
}

/** Makes a folder in the first cache folder that can be written. @returns its path @throws UserError when none can be written */
export async function makeCacheFolder(name: string): Promise<string> {
  let failure: string | undefined
  for (const cache of cacheFolders()) {
    try {
      const folder = join(cache, name)
      // Only this user may write files that the user's programs run. `makeFolder` deals with a missing parent and an existing folder.
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

/** Keeps texts as files of the cache. A text in a later folder is newer, because it was written when the earlier folders could not be. */
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

/** Returns the folder where the user's programs cache files, or undefined without a home. A relative XDG_CACHE_HOME does not count. */
function userCache(): string | undefined {
  const { XDG_CACHE_HOME: named = '' } = process.env
  if (isAbsolute(named)) return named
  let home = ''
  try {
    home = homedir()
  } catch {
    // The user has neither HOME nor an entry in the list of users.
  }
  return isAbsolute(home) ? join(home, '.cache') : undefined
}

/** Whether a folder is absent, or only this user can write it. Any user can make a folder among the temporary files. */
function isPrivate(folder: string): boolean {
  try {
    const found = lstatSync(folder, { throwIfNoEntry: false })
    if (!found || !process.getuid) return true
    return found.isDirectory() && found.uid === process.getuid() && (found.mode & 0o022) === 0
  } catch {
    return false
  }
}
