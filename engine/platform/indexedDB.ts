import { reason, UserError } from '../base/errors.ts'
import type { Texts } from './types.ts'

const DATABASE = 'paraformer'
const STORE = 'texts'

/** Keeps texts in IndexedDB, which the pages of one origin and their workers share. */
export const texts: Texts = {
  read: (name) => request<string | undefined>('readonly', (store) => store.get(name)).catch(() => undefined),
  async write(name, text) {
    try {
      await request('readwrite', (store) => store.put(text, name))
    } catch (error) {
      throw new UserError(`${name}: this browser keeps nothing (${reason(error)}); allow the page to store data`)
    }
  },
}

/** Makes one request in a transaction of its own. @returns resolves with the result when the transaction is complete */
async function request<T>(mode: IDBTransactionMode, ask: (store: IDBObjectStore) => IDBRequest): Promise<T> {
  const database = await open()
  try {
    const transaction = database.transaction(STORE, mode)
    const asked = ask(transaction.objectStore(STORE))
    await new Promise<void>((resolve, reject) => {
      transaction.oncomplete = () => resolve()
      transaction.onerror = transaction.onabort = () => reject(transaction.error)
    })
    return asked.result as T
  } finally {
    database.close()
  }
}

function open(): Promise<IDBDatabase> {
  return new Promise((resolve, reject) => {
    const opening = indexedDB.open(DATABASE, 1)
    opening.onupgradeneeded = () => opening.result.createObjectStore(STORE)
    opening.onsuccess = () => resolve(opening.result)
    opening.onerror = () => reject(opening.error)
  })
}
