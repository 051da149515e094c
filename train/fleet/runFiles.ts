import type { ObjectStore } from '@nats-io/obj'
import { UserError } from '../../engine/base/errors.ts'
import type { RunSite } from './machine.ts'
import { MAX_FILE, type StoredFile } from './messages.ts'
import { ANSWER, within } from './patience.ts'

/** The files with which a run goes on, in the order in which they are read: the metrics contain all that the checkpoint does. */
export const CHECKPOINT_FILES = ['checkpoint.safetensors', 'settings.json', 'metrics.jsonl']
/** Names in a run's folder that stay where they are. */
const STAYS = /\.lock$|\.tmp$|^\.|^checkpoint\.safetensors$/

/** Whether a file belongs to the result of a run: all but its locks and its checkpoint. */
export function isResult(name: string): boolean {
  return !STAYS.test(name)
}

/**
 * Puts files of a run into the object store. A file that is not there is left out.
 * @param prefix begins the names of the objects; it must be new, since objects are never replaced
 * @returns the files, each with the SHA-256 of what was stored
 * @throws UserError for a file that is too large; Error when the server does not take one
 */
export async function storeFiles(
  store: ObjectStore,
  site: Pick<RunSite, 'read'>,
  names: readonly string[],
  prefix: string,
): Promise<StoredFile[]> {
  const stored: StoredFile[] = []
  for (const name of names) {
    const file = await site.read(name)
    if (!file) continue
    if (file.size > MAX_FILE) throw new UserError(`${name}: has ${file.size} bytes; a fleet takes files up to ${MAX_FILE}`)
    const object = `${prefix}/${name}`
    const { digest, size } = await store.put({ name: object }, file.data, { timeout: ANSWER })
    stored.push({ name, object, sha256: hexOf(digest), bytes: size })
  }
  return stored
}

/**
 * Fetches stored files of a run.
 * @param last the name of the file that comes last, since its presence says that all are there
 * @throws UserError when one is missing, does not arrive, or is not what its hash says
 */
export async function fetchFiles(
  store: ObjectStore,
  stored: readonly StoredFile[],
  site: Pick<RunSite, 'write'>,
  last?: string,
): Promise<void> {
  const inOrder = [...stored.filter(({ name }) => name !== last), ...stored.filter(({ name }) => name === last)]
  for (const { name, object, sha256, bytes } of inOrder) {
    const found = await store.get(object)
    if (!found) throw new UserError(`${object}: is not in the object store any more`)
    const { size, digest } = found.info
    if (size !== bytes || hexOf(digest) !== sha256)
      throw new UserError(`${object}: is another file than the one that was stored`)
    // The client compares the bytes with the digest, and fails the stream at its end when they differ.
    const written = await site.write(name, arriving(object, found.data))
    const failed = await found.error
    if (failed || written !== bytes) throw new UserError(`${object}: is damaged (${failed?.message ?? `${written} bytes`})`)
  }
}

/** Fetches an object; undefined where there is none. @throws UserError where its bytes stay away */
export async function fetchBytes(store: ObjectStore, object: string): Promise<Uint8Array<ArrayBuffer> | undefined> {
  const found = await store.get(object)
  if (!found) return undefined
  const bytes = arriving(object, found.data) as ReadableStream<Uint8Array<ArrayBuffer>>
  return new Uint8Array(await new Response(bytes).arrayBuffer())
}

/** The same bytes, and a UserError where they stay away. */
function arriving(object: string, bytes: ReadableStream<Uint8Array>): ReadableStream<Uint8Array> {
  const reader = bytes.getReader()
  return new ReadableStream({
    async pull(controller) {
      try {
        const { done, value } = await within(object, reader.read())
        if (done) controller.close()
        else controller.enqueue(value)
      } catch (error) {
        void reader.cancel().catch(() => {})
        throw error
      }
    },
    cancel: (reason) => reader.cancel(reason),
  })
}

/** Removes objects. What cannot be removed now stays until the store's limit takes it. */
export async function removeFiles(store: ObjectStore, stored: readonly StoredFile[]): Promise<void> {
  for (const { object } of stored) await store.delete(object).catch(() => {})
}

/** Returns the hexadecimal digits of a digest of NATS, such as `SHA-256=abc-_…`. */
function hexOf(digest: string): string {
  const text = atob(
    digest
      .replace(/^SHA-256=/, '')
      .replaceAll('-', '+')
      .replaceAll('_', '/'),
  )
  return Array.from(text, (character) => character.charCodeAt(0).toString(16).padStart(2, '0')).join('')
}
