import type { Stats } from 'node:fs'
import { lstat, readlink, realpath } from 'node:fs/promises'
import { dirname, resolve, sep } from 'node:path'

/** What a path leads to when all links are followed. */
export type Destination =
  /** A regular file, or a place where one can be. */
  | { kind: 'file'; path: string; found: Stats | undefined }
  /** A pipe or a device, which takes bytes in their order and cannot be replaced. */
  | { kind: 'pipe'; path: string; fifo: boolean }
  /** A file that this process has open already, such as /dev/stdout. */
  | { kind: 'descriptor'; fd: number }

/** As many links as Linux follows. */
const MOST_LINKS = 40

/** Follows the links of a path. Rejects with an error of the file system for a folder and for links in a circle. */
export async function destinationOf(path: string): Promise<Destination> {
  // `resolve` would leave out what says that a folder is meant.
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
      // A relative link counts from where it really lies.
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

/** The number of an open file of this process that a path names: to open it again would lose its place, and fails for sockets. */
function descriptorOf(path: string): number | undefined {
  if (path === '/dev/stdout') return 1
  if (path === '/dev/stderr') return 2
  const [, id, fd] = /^\/(?:dev|proc\/(self|\d+))\/fd\/(\d+)$/.exec(path) ?? []
  const own = id === undefined || id === 'self' || Number(id) === process.pid
  return fd !== undefined && own ? Number(fd) : undefined
}
