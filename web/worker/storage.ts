// One tab of the page at a time has what the browser keeps. Another one computes too, but keeps nothing.
import { files } from '#platform'
import { FileError } from '../../engine/base/errors.ts'
import { removeOpfs } from '../../engine/platform/opfs.ts'

const LOCK = 'paraformer: what the browser keeps of this page'
/** Milliseconds that a tab waits for the lock, since a page that is reloaded has its own until it has ended. */
const PATIENCE = 5000
const ELSEWHERE = 'another tab of this page has what this browser keeps; what this tab trains is gone when it closes'

let ours: Promise<boolean> | undefined

/** Whether this tab has the storage: the first one has it until it closes. */
export function ownsStorage(): Promise<boolean> {
  ours ??= new Promise((resolve) => {
    const { locks } = navigator as { locks?: LockManager }
    if (!locks) return resolve(true)
    const hold = () => {
      resolve(true)
      return new Promise(() => {})
    }
    locks.request(LOCK, { signal: AbortSignal.timeout(PATIENCE) }, hold).catch(() => resolve(false))
  })
  return ours
}

/** Runs what writes to the storage. @throws FileError that says in one line why nothing is kept: another tab has it, it is full, or refused */
export async function stored(write: () => Promise<void>): Promise<void> {
  if (!(await ownsStorage())) throw new FileError(ELSEWHERE)
  try {
    await write()
  } catch (error) {
    if (!(error instanceof FileError)) throw error
    const [, why] = /cannot be written \((.*)\)$/s.exec(error.message) ?? []
    throw new FileError(`this browser keeps nothing of this page (${why ?? error.message})`)
  }
}

/** Writes a file that outlives the page. @throws FileError as `stored` */
export function keep(path: string, content: Parameters<typeof files.write>[1]): Promise<void> {
  return stored(() => files.write(path, content))
}

/** Whether this tab keeps a file. */
export async function isKept(path: string): Promise<boolean> {
  if (!(await ownsStorage())) return false
  const file = await files.open(path).catch(() => undefined)
  await file?.close()
  return file !== undefined
}

/** Removes a folder that this tab keeps. A storage that is refused holds nothing to remove. */
export async function forgetKept(folder: string): Promise<void> {
  if (await ownsStorage()) await removeOpfs(folder).catch(() => {})
}
