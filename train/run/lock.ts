import { type FileHandle, open, rm, stat } from 'node:fs/promises'
import { hostname } from 'node:os'
import { dirname } from 'node:path'
import { UserError } from '../../engine/index.ts'
import { fileError, makeFolder } from '../../engine/platform/files.ts'
import { optional } from '../../engine/platform/optional.ts'

/** Error codes of file systems without locks. */
const NO_LOCKS = ['ENOLCK', 'ENOSYS', 'ENOTSUP', 'EOPNOTSUPP', 'EINVAL']

/** Number of times that the lock file may be removed or replaced right after it was opened. */
const TRIES = 100

/**
 * Keeps a second process from training in the same folder. The system locks a file for as long as the process lives, so a killed
 * process leaves no lock, whatever the file says. Its text, host and process id, is for people. Over NFS the lock holds between
 * machines if the server supports locks, and with `nolock` mounts on each machine alone.
 */
export class RunLock {
  readonly #path: string
  #file: FileHandle

  private constructor(path: string, file: FileHandle) {
    this.#path = path
    this.#file = file
  }

  /**
   * Takes the lock, and makes the folder if it is missing.
   * @param onUnlocked is called when the file system has no locks, and nothing keeps a second process out
   * @throws UserError when another process has it, or the folder cannot be written
   */
  static async take(path: string, onUnlocked: (text: string) => void = () => {}): Promise<RunLock> {
    return new RunLock(path, await lock(path, onUnlocked))
  }

  /**
   * Takes the lock again if the file was removed, or the folder was moved and made again.
   * @throws UserError when another process has the folder now
   */
  async hold(): Promise<void> {
    if (await lies(this.#file, this.#path)) return
    const file = await lock(this.#path, () => {})
    await this.#file.close()
    this.#file = file
  }

  async release(): Promise<void> {
    // The file is removed while locked, so that a process which opened it before finds out that it is gone.
    if (await lies(this.#file, this.#path)) await rm(this.#path, { force: true }).catch(() => {})
    await this.#file.close()
  }
}

async function lock(path: string, onUnlocked: (text: string) => void): Promise<FileHandle> {
  for (let tries = 0; tries < TRIES; tries++) {
    const file = await openFile(path)
    try {
      if (!(await tryLock(file, path, onUnlocked))) throw await taken(file, path)
      // The process before may have removed the file in between, and a third process made another.
      if (await lies(file, path)) {
        await sign(file)
        return file
      }
    } catch (error) {
      await file.close()
      throw error
    }
    await file.close()
  }
  throw new UserError(`${path}: other processes take and leave this folder all the time; choose another --out`)
}

async function openFile(path: string): Promise<FileHandle> {
  try {
    await makeFolder(dirname(path))
    return await open(path, 'a+')
  } catch (error) {
    // The folder may be gone, since a process removes the folder of a run that did not begin.
    if ((error as { code?: string }).code === 'ENOENT') {
      await makeFolder(dirname(path)).catch(() => {})
      return await open(path, 'a+').catch((again: unknown) => {
        throw fileError(path, again)
      })
    }
    throw fileError(path, error)
  }
}

async function tryLock(file: FileHandle, path: string, onUnlocked: (text: string) => void): Promise<boolean> {
  try {
    // The other commands start without this native code.
    const native = await optional(import('fs-native-extensions'), 'fs-native-extensions', `${path}: is not locked`)
    return native.tryLock(file.fd)
  } catch (error) {
    const missing = error instanceof UserError
    if (!missing && !NO_LOCKS.includes((error as { code?: string }).code ?? '')) throw fileError(path, error)
    const why = missing ? error.message : `${path}: this file system knows no locks`
    onUnlocked(`${why}; see to it that no other process trains in this folder`)
    return true
  }
}

async function taken(file: FileHandle, path: string): Promise<UserError> {
  const [host, pid] = (await readOwner(file)).split(' ')
  const who = pid === undefined ? 'another process' : `process ${Number.parseInt(pid, 10)} of ${host}`
  return new UserError(`${path}: ${who} trains in this folder; wait for it, or choose another one`)
}

async function readOwner(file: FileHandle): Promise<string> {
  const { buffer, bytesRead } = await file.read({ buffer: Buffer.alloc(300), position: 0 })
  return buffer.toString('utf8', 0, bytesRead)
}

/** Writes host and process id. On a full disk the text stays empty; the lock holds all the same. */
async function sign(file: FileHandle): Promise<void> {
  try {
    await file.truncate(0)
    await file.write(`${hostname()} ${process.pid}\n`)
  } catch {}
}

/** Whether the path leads to this open file. */
async function lies(file: FileHandle, path: string): Promise<boolean> {
  const [own, found] = await Promise.all([file.stat({ bigint: true }), stat(path, { bigint: true }).catch(() => undefined)])
  return found !== undefined && own.dev === found.dev && own.ino === found.ino
}
