import { FileError, reason, UserError } from '../base/errors.ts'
import { inOpfs, openOpfs, writeOpfs } from './opfs.ts'
import type { Files } from './types.ts'

/** Files that the page was given, such as dropped ones, by their names. */
const held = new Map<string, Blob>()

/**
 * Makes a file of the page readable by a name, until it gets another one or none.
 * @param file undefined takes the name away
 */
export function holdFile(name: string, file: Blob | undefined): void {
  if (file) held.set(name, file)
  else held.delete(name)
}

/** Finds the content of a path: a file that the page was given, one of the origin private file system, or a URL. */
async function blobOf(path: string): Promise<Blob> {
  const known = held.get(path)
  if (known) return known
  if (inOpfs(path)) return openOpfs(path)
  const response = await fetch(path).catch((error: unknown) => {
    throw new UserError(`${path}: cannot be read (${reason(error)})`)
  })
  if (!response.ok) throw new UserError(`${path}: cannot be read (${response.status} ${response.statusText})`)
  // A browser keeps large blobs outside the page's memory.
  return response.blob()
}

/** Files of a browser: those that the page was given, those of the origin private file system (`opfs:NAME`), and URLs, which are read-only. */
export const files: Files = {
  async open(path) {
    const blob = await blobOf(path)
    return {
      size: blob.size,
      read: (offset, length) => blob.slice(offset, offset + length).arrayBuffer(),
      close: async () => {},
    }
  },
  async read(path, most = Number.POSITIVE_INFINITY) {
    const blob = await blobOf(path)
    if (blob.size > most) throw new UserError(`${path}: longer than ${most} bytes, which no such file is; check the address`)
    return new Uint8Array(await blob.arrayBuffer())
  },
  async write(path, content) {
    checkOpfs(path)
    await writeOpfs(path, content)
  },
  checkWritable: async (path) => checkOpfs(path),
}

function checkOpfs(path: string): void {
  if (inOpfs(path)) return
  throw new FileError(`${path}: cannot be written: a page in a browser has no files but those named opfs:NAME`)
}
