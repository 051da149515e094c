import { realpath } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { UserError } from '../../engine/index.ts'
import { destinationOf } from '../../engine/platform/destination.ts'

/** What a path is for, such as its flag, and the path, if there is one. */
export type NamedPath = readonly [what: string, path: string | undefined]

/**
 * Refuses paths of results that lead to one file, or to a file that the command needs: the one would be lost with the other.
 * @param written of results
 * @param needed of all else
 * @throws UserError in one line that names both
 */
export async function checkApart(written: readonly NamedPath[], needed: readonly NamedPath[]): Promise<void> {
  const taken = new Map<string, string>()
  for (const [what, path] of needed) {
    const file = path === undefined ? undefined : await fileOf(path)
    if (file !== undefined) taken.set(file, what)
  }
  for (const [what, path] of written) {
    const file = path === undefined ? undefined : await fileOf(path)
    if (file === undefined) continue
    const other = taken.get(file)
    if (other !== undefined) throw new UserError(`${what} ${path}: is the file of ${other} as well; name another one`)
    taken.set(file, what)
  }
}

/** One text for all paths that lead to a file; none for pipes, devices and what is no file. */
async function fileOf(path: string): Promise<string | undefined> {
  const to = await destinationOf(path).catch(() => undefined)
  if (to?.kind !== 'file') return undefined
  if (to.found) return `${to.found.dev}:${to.found.ino}`
  const folder = dirname(to.path)
  return join(await realpath(folder).catch(() => folder), basename(to.path))
}
