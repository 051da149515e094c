import { UserError } from '../../../engine/base/errors.ts'
import type { OwnFormat } from '../names.ts'
import { isIdxImages } from './idxFolder.ts'
import { isRecordFile } from './recordFolder.ts'

/** Files that are a data set of the user's own. */
export interface OwnFiles {
  /** The folder that holds them. */
  dir: string
  format: OwnFormat
  /** The path of each file, which begins with the folder. */
  paths: string[]
}

/** The folder of files that come without one. */
const LOOSE = 'dropped'

/**
 * Finds out what data set files are: the folder that holds them all, and by their names the format.
 * @param names paths with slashes, such as `flowers/daisy/1.png`
 * @throws UserError where there are none
 */
export function ownFilesOf(names: readonly string[]): OwnFiles {
  const [first] = names
  if (first === undefined) throw new UserError('there are no files in it; give a folder with a folder of images for each class')
  const top = first.slice(0, first.indexOf('/') + 1)
  const inOne = top !== '' && names.every((name) => name.startsWith(top))
  const dir = inOne ? top.slice(0, -1) : LOOSE
  const below = inOne ? names.map((name) => name.slice(top.length)) : names
  const direct = below.filter((name) => !name.includes('/'))
  const format = direct.some(isIdxImages) ? 'idx' : direct.some(isRecordFile) ? 'cifar-like' : 'images'
  return { dir, format, paths: below.map((name) => `${dir}/${name}`) }
}
