import type { Stats } from 'node:fs'
import { lstat, readlink, realpath } from 'node:fs/promises'
import { dirname, resolve, sep } from 'node:path'

/** The target of a path, after all links. */
export type Destination =
  /** A regular file, which may not exist yet. */
  | { kind: 'file'; path: string; found: Stats | undefined }
  /** A pipe or a device: bytes are written in order, and it cannot be replaced. `fifo` says that it is a pipe. */
  | { kind: 'pipe'; path: string; fifo: boolean }
  /** A file that this process has open, such as /dev/stdout. */
  | { kind: 'descriptor'; fd: number }

/** The number of links that Linux follows. */
const MOST_LINKS = 40

/** Follows the links of a path. @throws an error of the file system for a folder, and for links in a circle */
export async function destinationOf(path: string): Promise<Destination> {
  // `resolve` would remove a slash at the end, which says that a folder is meant.
  if (path === '' || path.endsWith('/') || path.endsWith(sep)) throw fileSystemError('EISDIR')
  let at = resolve(path)
  for (let links = 0; links < MOST_LINKS; links++) {
    const fd = descriptorOf(at)
    if (fd !== undefined) return { kind: 'descriptor', fd }
    const found = await lstat(at).catch((error: unknown) => {
      if ((error as { code?: string }).code === 'ENOENT') return undefined
      throw error
    })
    if (found?.isSymbolicLink()) {
      // A relative link starts from the real folder that holds it.
      at = resolve(await realpath(dirname(at)), await readlink(at))
      continue
    }
    if (found?.isDirectory()) throw fileSystemError('EISDIR')
    if (!found || found.isFile()) return { kind: 'file', path: at, found }
    return { kind: 'pipe', path: at, fifo: found.isFIFO() }
  }
  throw fileSystemError('ELOOP')
}

function fileSystemError(code: string): Error {
  return Object.assign(new Error(code), { code })
}

/** Returns the descriptor that a path names, where this process has it open. Opening it again would lose its position, and fails for sockets. */
function descriptorOf(path: string): number | undefined {
  if (path === '/dev/stdout') return 1
  if (path === '/dev/stderr') return 2
  const [, id, fd] = /^\/(?:dev|proc\/(self|\d+))\/fd\/(\d+)$/.exec(path) ?? []
  const own = id === undefined || id === 'self' || Number(id) === process.pid
  return fd !== undefined && own ? Number(fd) : undefined
}
