import { randomBytes } from 'node:crypto'
import { constants, type Stats } from 'node:fs'
import { access, type FileHandle, mkdir, open, readdir, rename, rm, stat } from 'node:fs/promises'
import { hostname } from 'node:os'
import { basename, dirname, join } from 'node:path'
import { FileError, reason } from '../base/errors.ts'
import { destinationOf } from './destination.ts'
import { checkPipe, writeAll, writeToPipe } from './pipes.ts'
import type { Content } from './types.ts'

/** The temporary files that this process is writing. */
const writing = new Set<string>()

/** Age at which a temporary file of another machine is removed, in milliseconds. */
const ABANDONED = 24 * 3600 * 1000

/**
 * Writes a file atomically, see `Files.write`. A temporary file beside it is written, flushed to disk and renamed, so that readers find the
 * old content or the new one also after a crash. A file that cannot be replaced, because it is a mount itself or its folder takes no new
 * files, is written in place, as pipes, devices and open files (/dev/stdout) are.
 * @throws FileError in one line when it cannot be written
 */
export async function writeFile(path: string, content: Content): Promise<void> {
  try {
    const to = await destinationOf(path)
    if (to.kind === 'file') await writeRegular(to.path, to.found, content)
    else await writeToPipe(to, content)
  } catch (error) {
    throw fileError(path, error)
  }
}

/** Checks that a file can be written, see `Files.checkWritable`. Missing folders are made. @throws FileError as `writeFile` would */
export async function checkWritable(path: string): Promise<void> {
  try {
    const to = await destinationOf(path)
    if (to.kind !== 'file') return await checkPipe(to)
    if (to.found) await access(to.path, constants.W_OK)
    await makeFolder(dirname(to.path))
    const temporary = await openBeside(to.path).catch(orInPlace(to.found))
    await temporary?.drop()
  } catch (error) {
    throw fileError(path, error)
  }
}

/** Makes an error of the file system into one line that says what to do. */
export function fileError(path: string, error: unknown): FileError {
  const { code } = error as { code?: string }
  const advice = {
    EISDIR: 'is a folder; name a file',
    ELOOP: 'is a link that leads to itself; name a file',
    EPIPE: 'cannot be written (EPIPE): whoever read it has gone',
    EBADF: 'cannot be written (EBADF): this process has no such file open',
  }[code ?? '']
  return new FileError(
    `${path}: ${advice ?? `cannot be written (${code ?? reason(error)}); choose a folder that exists, is writable and has space`}`,
  )
}

async function writeRegular(path: string, found: Stats | undefined, content: Content): Promise<void> {
  // A rename would replace even a file that may not be written.
  if (found) await access(path, constants.W_OK)
  await makeFolder(dirname(path))
  const temporary = await openBeside(path).catch(orInPlace(found))
  if (!temporary) return overwrite(path, content)
  try {
    if (found) await copyPermissions(temporary.file, found)
    await writeAll(temporary.file.fd, content)
    await temporary.file.sync()
    await temporary.file.close()
    await rename(temporary.path, path)
  } catch (error) {
    await temporary.drop()
    // A file that is a mount itself cannot be replaced.
    if (found && (error as { code?: string }).code === 'EBUSY' && !isOnce(content)) return overwrite(path, content)
    throw error
  } finally {
    writing.delete(temporary.path)
  }
  await syncFolder(dirname(path))
}

/** Whether content can be read only once, as that of a stream. */
function isOnce(content: Content): boolean {
  return typeof content !== 'string' && !ArrayBuffer.isView(content) && !Array.isArray(content)
}

/**
 * Makes a handler for the error of `openBeside`. It returns undefined for an existing file whose folder takes no new files, because such a
 * file is written in place, and throws the error otherwise.
 */
function orInPlace(found: Stats | undefined): (error: unknown) => undefined {
  return (error) => {
    const { code = '' } = error as { code?: string }
    if (!found || !['EACCES', 'EPERM', 'EROFS'].includes(code)) throw error
    return undefined
  }
}

async function overwrite(path: string, content: Content): Promise<void> {
  const file = await open(path, 'r+')
  try {
    await file.truncate(0)
    await writeAll(file.fd, content)
    await file.sync()
  } finally {
    await file.close()
  }
}

/** Opens a new temporary file beside `path`, with a name that no other process uses. */
async function openBeside(path: string) {
  const folder = dirname(path)
  // A name has at most 255 bytes, so only a part of the file's name goes into it.
  const prefix = `.${basename(path).slice(0, 40)}.`
  await removeOrphans(folder, prefix)
  const temporary = join(folder, `${prefix}${hostname()}.${process.pid}.${randomBytes(6).toString('hex')}.tmp`)
  writing.add(temporary)
  try {
    const file = await open(temporary, 'wx')
    const drop = async () => {
      writing.delete(temporary)
      await file.close().catch(() => {})
      await rm(temporary, { force: true }).catch(() => {})
    }
    return { path: temporary, file, drop }
  } catch (error) {
    writing.delete(temporary)
    throw error
  }
}

async function copyPermissions(file: FileHandle, { mode, uid, gid }: Stats): Promise<void> {
  const own = await file.stat()
  // Only root can give a file another owner, so for other users this fails.
  if (own.uid !== uid || own.gid !== gid) await file.chown(uid, gid).catch(() => {})
  await file.chmod(mode & 0o7777)
}

/** Removes the temporary files of the same file that killed processes left behind. */
async function removeOrphans(folder: string, prefix: string): Promise<void> {
  for (const name of await readdir(folder)) {
    if (!name.startsWith(prefix) || !name.endsWith('.tmp')) continue
    const path = join(folder, name)
    if (writing.has(path)) continue
    const [host, pid] = name.slice(prefix.length).split(/\.(?=\d+\.[0-9a-f]+\.tmp$)/)
    const found = await stat(path).catch(() => undefined)
    if (found && isAbandoned(host === hostname() ? Number.parseInt(pid ?? '', 10) : 0, found.mtimeMs))
      await rm(path, { force: true })
  }
}

/**
 * Whether the writer of a temporary file is gone.
 * @param pid the writer's process id, or 0 for a process of another machine
 * @param changed when the file last changed, in milliseconds since 1970
 */
function isAbandoned(pid: number, changed: number): boolean {
  // In a restarted container this process may have the id of the previous one.
  if (pid === process.pid) return changed < Date.now() - 1000 * process.uptime()
  return pid > 0 ? !isAlive(pid) : changed < Date.now() - ABANDONED
}

/** Makes a folder and its parents. Node's own `recursive` never ends under /proc, where a parent exists and takes no child. */
export async function makeFolder(path: string, mayLackParent = true): Promise<void> {
  try {
    await mkdir(path)
  } catch (error) {
    const { code } = error as { code?: string }
    if (code === 'EEXIST' && (await stat(path)).isDirectory()) return
    if (code === 'EROFS' && (await stat(path).catch(() => undefined))?.isDirectory()) return
    if (code !== 'ENOENT' || !mayLackParent || dirname(path) === path) throw error
    await makeFolder(dirname(path))
    await makeFolder(path, false)
  }
}

/** Whether a process of this machine is running. */
export function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return true
  } catch (error) {
    return (error as { code?: string }).code !== 'ESRCH'
  }
}

/** Flushes a folder to disk, where the platform can open folders, so that a crash keeps the rename. */
async function syncFolder(folder: string): Promise<void> {
  const handle = await open(folder, 'r').catch(() => undefined)
  if (!handle) return
  await handle.sync().catch(() => {})
  await handle.close()
}
