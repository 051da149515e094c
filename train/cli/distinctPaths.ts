import { realpath } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { UserError } from '../../engine/index.ts'
import { destinationOf } from '../../engine/platform/destination.ts'

/** A path with its name in messages, such as its flag. */
export type NamedPath = readonly [name: string, path: string | undefined]

/**
 * Refuses paths of results that lead to one file, or to a file that the command needs, since one would overwrite the other.
 * @param written paths of results
 * @param needed all other paths
 * @throws UserError in one line that names both
 */
export async function checkDistinctPaths(written: readonly NamedPath[], needed: readonly NamedPath[]): Promise<void> {
  const taken = new Map<string, string>()
  for (const [name, path] of needed) {
    const file = path === undefined ? undefined : await fileOf(path)
    if (file !== undefined) taken.set(file, name)
  }
  for (const [name, path] of written) {
    const file = path === undefined ? undefined : await fileOf(path)
    if (file === undefined) continue
    const other = taken.get(file)
    if (other !== undefined) throw new UserError(`${name} ${path}: is the file of ${other} as well; name another one`)
    taken.set(file, name)
  }
}

/** Returns the same text for all paths that lead to the same file; undefined for pipes, devices and folders. */
async function fileOf(path: string): Promise<string | undefined> {
  const to = await destinationOf(path).catch(() => undefined)
  if (to?.kind !== 'file') return undefined
  if (to.found) return `${to.found.dev}:${to.found.ino}`
  const folder = dirname(to.path)
  return join(await realpath(folder).catch(() => folder), basename(to.path))
}
