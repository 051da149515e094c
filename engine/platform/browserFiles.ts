import { FileError, reason, UserError } from '../base/errors.ts'
import { inOpfs, openOpfs, writeOpfs } from './opfs.ts'
import type { Content, Files, FolderEntry } from './types.ts'

/** Begins the paths of files that live as long as the page, for what the browser does not store. */
const MEMORY = 'memory:'

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

/** Lists the held files whose names are paths below a folder. */
function entriesOf(path: string): FolderEntry[] {
  const found = new Map<string, FolderEntry>()
  for (const held of namesBelow(path)) {
    const slash = held.indexOf('/')
    const name = slash < 0 ? held : held.slice(0, slash)
    found.set(name, { name, kind: slash < 0 ? 'file' : 'folder' })
  }
  if (found.size === 0) throw new UserError(`${path}: no such folder; give it to the page again`)
  return [...found.values()]
}

function* namesBelow(path: string): Generator<string> {
  for (const name of held.keys()) if (name.startsWith(`${path}/`)) yield name.slice(path.length + 1)
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

async function blobFrom(content: Content): Promise<Blob> {
  const pieces: (Uint8Array | string)[] = []
  if (typeof content === 'string' || content instanceof Uint8Array) pieces.push(content)
  else for await (const piece of content) pieces.push(piece)
  return new Blob(pieces as (Uint8Array<ArrayBuffer> | string)[])
}

/** Files of a browser: those that the page was given, those that it keeps in memory (`memory:NAME`), those of the origin private file system (`opfs:NAME`), and URLs, which are read-only. */
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
    if (path.startsWith(MEMORY)) {
      held.set(path, await blobFrom(content))
      return
    }
    checkOpfs(path)
    await writeOpfs(path, content)
  },
  entries: async (path) => entriesOf(path),
  // Held files have no links.
  identityOf: async (path) => path,
  checkWritable: async (path) => checkOpfs(path),
}

function checkOpfs(path: string): void {
  if (inOpfs(path) || path.startsWith(MEMORY)) return
  throw new FileError(`${path}: cannot be written: a page in a browser has no files but those named opfs:NAME`)
}
