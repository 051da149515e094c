import { mkdir, open, readdir, rename, rm, stat } from 'node:fs/promises'
import { hostname } from 'node:os'
import { basename, dirname, join } from 'node:path'
import { reason, UserError } from '../errors.ts'

let writes = 0

/**
 * Writes a file so that readers and a crash see the old content or the new, never a part: a temporary file beside it
 * is written, flushed to disk and renamed. Missing folders are made. UserError when the place cannot be written.
 */
export async function writeFileAtomic(path: string, bytes: Uint8Array | string): Promise<void> {
  const folder = dirname(path)
  const prefix = `.${basename(path)}.${hostname()}.`
  const temporary = join(folder, `${prefix}${process.pid}.${writes++}.tmp`)
  try {
    await makeFolder(folder)
    await removeOrphans(folder, prefix)
    const file = await open(temporary, 'wx')
    try {
      await file.writeFile(bytes)
      await file.sync()
    } finally {
      await file.close()
    }
    await rename(temporary, path)
    await syncFolder(folder)
  } catch (error) {
    await rm(temporary, { force: true }).catch(() => {})
    const code = (error as { code?: string }).code ?? reason(error)
    throw new UserError(`${path}: cannot be written (${code}); choose a folder that exists, is writable and has space`)
  }
}

/** Makes a folder and those above it. Node's own `recursive` never ends under /proc, where a parent exists and takes no child. */
export async function makeFolder(path: string, mayLackParent = true): Promise<void> {
  try {
    await mkdir(path)
  } catch (error) {
    const { code } = error as { code?: string }
    if (code === 'EEXIST' && (await stat(path)).isDirectory()) return
    if (code !== 'ENOENT' || !mayLackParent || dirname(path) === path) throw error
    await makeFolder(dirname(path))
    await makeFolder(path, false)
  }
}

/** Removes temporary files of processes of this machine that were killed while writing the same file. */
async function removeOrphans(folder: string, prefix: string): Promise<void> {
  for (const name of await readdir(folder)) {
    if (!name.startsWith(prefix) || !name.endsWith('.tmp')) continue
    const pid = Number.parseInt(name.slice(prefix.length), 10)
    if (pid > 0 && !isAlive(pid)) await rm(join(folder, name), { force: true })
  }
}

/** Whether a process of this machine runs. */
export function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return true
  } catch (error) {
    return (error as { code?: string }).code !== 'ESRCH'
  }
}

/** Makes the rename itself durable, where the platform can open folders. */
async function syncFolder(folder: string): Promise<void> {
  const handle = await open(folder, 'r').catch(() => undefined)
  if (!handle) return
  await handle.sync().catch(() => {})
  await handle.close()
}
