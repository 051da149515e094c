import { createHash } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { open, readdir, rename, rm, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import type { ObjectStore } from '@nats-io/obj'
import { UserError } from '../../engine/index.ts'
import { makeFolder } from '../../engine/platform/files.ts'
import { MAX_FILE, type StoredFile } from './messages.ts'

/** Milliseconds that a file may take to be stored. */
const TIMEOUT = 600_000

/** Files of a run's folder without which it can go on, in the order in which they are read: the metrics contain all that the checkpoint does. */
export const CHECKPOINT_FILES = ['checkpoint.safetensors', 'settings.json', 'metrics.jsonl']
/** Names in a run's folder that stay where they are. */
const STAYS = /\.lock$|\.tmp$|^\.|^checkpoint\.safetensors$/

/** Returns the names of the files of a run that has ended: all but its locks and its checkpoint. */
export async function resultFiles(folder: string): Promise<string[]> {
  const found = await readdir(folder, { withFileTypes: true })
  return found.filter((entry) => entry.isFile() && !STAYS.test(entry.name)).map(({ name }) => name)
}

/**
 * Puts files of a folder into the object store. A file that is not there is left out.
 * @param prefix begins the names of the objects; it must be new, since objects are never replaced
 * @returns the files, each with its SHA-256
 * @throws Error when the server does not take one
 */
export async function storeFiles(
  store: ObjectStore,
  folder: string,
  names: readonly string[],
  prefix: string,
): Promise<StoredFile[]> {
  const stored: StoredFile[] = []
  for (const name of names) {
    const path = join(folder, name)
    const size = await stat(path).then(
      (found) => found.size,
      () => undefined,
    )
    if (size === undefined) continue
    if (size > MAX_FILE) throw new UserError(`${path}: has ${size} bytes; a fleet takes files up to ${MAX_FILE}`)
    const hash = createHash('sha256')
    let bytes = 0
    // A file that grows meanwhile is stored as it is when it is read.
    const reading = createReadStream(path)
    reading.on('data', (chunk) => {
      hash.update(chunk)
      bytes += chunk.length
    })
    const object = `${prefix}/${name}`
    await store.put({ name: object }, Readable.toWeb(reading) as ReadableStream<Uint8Array>, { timeout: TIMEOUT })
    stored.push({ name, object, sha256: hash.digest('hex'), bytes })
  }
  return stored
}

/**
 * Fetches stored files into a folder, each beside its place and then renamed.
 * @param last the name of the file that comes last, since its presence says that all are there
 * @throws UserError when one is missing, or is not what its hash says
 */
export async function fetchFiles(
  store: ObjectStore,
  stored: readonly StoredFile[],
  folder: string,
  last?: string,
): Promise<void> {
  await makeFolder(folder)
  const inOrder = [...stored.filter(({ name }) => name !== last), ...stored.filter(({ name }) => name === last)]
  for (const { name, object, sha256, bytes } of inOrder) {
    const beside = join(folder, `${name}.tmp`)
    try {
      const found = await store.get(object)
      if (!found) throw new UserError(`${object}: is not in the object store any more`)
      if (found.info.size !== bytes) throw new UserError(`${object}: has ${found.info.size} bytes, not ${bytes}`)
      const hash = createHash('sha256')
      const file = await open(beside, 'w')
      try {
        for await (const chunk of Readable.fromWeb(found.data as import('node:stream/web').ReadableStream)) {
          hash.update(chunk)
          await file.write(chunk)
        }
        const failed = await found.error
        if (failed) throw new UserError(`${object}: cannot be read (${failed.message})`)
        await file.sync()
      } finally {
        await file.close()
      }
      if (hash.digest('hex') !== sha256) throw new UserError(`${object}: is damaged: its SHA-256 is another one`)
      await rename(beside, join(folder, name))
    } finally {
      await rm(beside, { force: true })
    }
  }
}

/** Removes objects. What cannot be removed now stays until the store's limit takes it. */
export async function removeFiles(store: ObjectStore, stored: readonly StoredFile[]): Promise<void> {
  for (const { object } of stored) await store.delete(object).catch(() => {})
}
