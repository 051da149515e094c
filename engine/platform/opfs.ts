import { FileError, reason, UserError } from '../base/errors.ts'
import type { Content } from './types.ts'

/** Begins the paths of the origin private file system (File System Standard, https://fs.spec.whatwg.org), such as `opfs:run/model.safetensors`. */
const SCHEME = 'opfs:'

/** Whether a path is one of the origin private file system. */
export function inOpfs(path: string): boolean {
  return path.startsWith(SCHEME)
}

/** Opens a file to read. @throws UserError in one line when it is missing or the browser keeps no files */
export async function openOpfs(path: string): Promise<Blob> {
  try {
    const { folder, name } = await placeOf(path, false)
    return await (await folder.getFileHandle(name)).getFile()
  } catch (error) {
    throw new UserError(`${path}: cannot be read (${reason(error)})`)
  }
}

/**
 * Writes a file atomically: the browser writes beside it, and replaces it when all is written.
 * @throws FileError in one line when the storage is full or refused
 */
export async function writeOpfs(path: string, content: Content): Promise<void> {
  let stream: FileSystemWritableFileStream | undefined
  try {
    const { folder, name } = await placeOf(path, true)
    stream = await (await folder.getFileHandle(name, { create: true })).createWritable()
    const pieces = typeof content === 'string' || content instanceof Uint8Array ? [content] : content
    for await (const piece of pieces) await stream.write(piece as Uint8Array<ArrayBuffer> | string)
    await stream.close()
  } catch (error) {
    await stream?.abort().catch(() => {})
    const full = error instanceof DOMException && error.name === 'QuotaExceededError'
    const what = full ? 'the storage of this page is full; free some in the settings of the browser' : reason(error)
    throw new FileError(`${path}: cannot be written (${what})`)
  }
}

/** Removes a file or a folder with all that it holds; nothing happens where there is none. */
export async function removeOpfs(path: string): Promise<void> {
  try {
    const { folder, name } = await placeOf(path, false)
    await folder.removeEntry(name, { recursive: true })
  } catch (error) {
    if (!(error instanceof DOMException && error.name === 'NotFoundError')) throw error
  }
}

/** Finds the folder of a path. @param create whether missing folders are made */
async function placeOf(path: string, create: boolean): Promise<{ folder: FileSystemDirectoryHandle; name: string }> {
  const parts = path.slice(SCHEME.length).split('/').filter(Boolean)
  const name = parts.pop()
  if (name === undefined) throw new UserError(`${path}: names no file`)
  const { storage } = navigator as { storage?: StorageManager }
  if (!storage) throw new UserError('a page has no storage in this browser')
  let folder = await storage.getDirectory()
  for (const part of parts) folder = await folder.getDirectoryHandle(part, { create })
  return { folder, name }
}
