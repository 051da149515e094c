import { files, join } from '#platform'
import { UserError } from '../../../engine/base/errors.ts'
import { MAX_NAME } from '../names.ts'
import { fileNamesIn } from './folders.ts'

/** Files of class names, one a line in label order: ours, and CIFAR-10's. */
const NAMES = ['classes.txt', 'batches.meta.txt']

/** Bytes of the longest file of class names. */
const MAX_BYTES = 1 << 20

/** Reads the class names of a folder; undefined where it has none. @throws UserError for a name that is too long, and without two names */
export async function readClassNames(dir: string): Promise<{ path: string; names: string[] } | undefined> {
  const found = await fileNamesIn(dir)
  const name = NAMES.find((name) => found.includes(name))
  if (name === undefined) return undefined
  const path = join(dir, name)
  const lines = new TextDecoder().decode(await files.read(path, MAX_BYTES)).split('\n')
  const names = lines.map((line) => line.trim()).filter(Boolean)
  if (names.length < 2) throw new UserError(`${path}: names ${names.length} classes; give two or more, one a line`)
  const long = names.find((name) => name.length > MAX_NAME)
  if (long !== undefined)
    throw new UserError(`${path}: the name ${long.slice(0, 20)}... has more than ${MAX_NAME} characters; shorten it`)
  return { path, names }
}
