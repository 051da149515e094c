import { files, join } from '#platform'
import { UserError } from '../../../engine/base/errors.ts'
import type { FolderEntry } from '../../../engine/platform/types.ts'
import { MAX_NAME } from '../names.ts'

/** A file below a folder. */
export interface FoundFile {
  path: string
  /** Its path below the data folder, with slashes. */
  name: string
  /** Why it cannot be read, where that is known without opening it. */
  wrong?: string
}

/** A folder of the images of one class. */
export interface ClassFolder {
  name: string
  files: FoundFile[]
}

/** The class folders of a data folder, which may be divided into splits. */
export interface ClassFolders {
  train: ClassFolder[]
  test?: ClassFolder[]
  validation?: ClassFolder[]
}

/** Largest number of files of a data folder. */
export const MAX_FILES = 1_000_000

/** Names of the folders that hold validation images. */
const VALIDATION = ['val', 'valid', 'validation']

/** Files that systems put beside images. */
const SYSTEM = ['Thumbs.db', 'desktop.ini', '__MACOSX']

/**
 * Finds the images of a data folder: a folder for each class, or the folders train, test and val (or valid, validation) with class folders
 * in them. Without test, val is what the model is tested on. A class has all files in its folder, those in folders below too. Links are
 * followed, each folder once for a class; names that begin with a dot are left out, and so are files beside class folders.
 * @param most the largest number of files
 * @returns classes in the order of their names, with files in the order of theirs
 * @throws UserError in one line for a folder that is missing, has fewer than two classes, an empty one or too many files
 */
export async function findClassFolders(dir: string, most = MAX_FILES): Promise<ClassFolders> {
  const names = await foldersIn(dir)
  const validation = VALIDATION.find((name) => names.includes(name))
  const budget = { files: most }
  const classes = (split?: string) => classFolders(dir, split, budget)
  if (!names.includes('train') || !(names.includes('test') || validation)) {
    return { train: checkClasses(await classes(), dir) }
  }
  const splits = ['train', 'test', validation]
  const other = names.find((name) => !splits.includes(name))
  if (other !== undefined)
    throw new UserError(
      `${dir}: holds a folder ${other} beside train and ${names.find((name) => name !== other && name !== 'train')}; keep either splits or classes`,
    )
  const train = checkClasses(await classes('train'), join(dir, 'train'))
  const part = async (split: string) => {
    const found = await classes(split)
    const unknown = found.find(({ name }) => !train.some((known) => known.name === name))
    if (unknown) throw new UserError(`${join(dir, split, unknown.name)}: a class that train lacks; remove it, or add it there`)
    if (found.every(({ files }) => files.length === 0))
      throw new UserError(`${join(dir, split)}: holds no images; add class folders as in train, or remove it`)
    return found
  }
  if (!names.includes('test')) return { train, test: await part(validation!) }
  return { train, test: await part('test'), ...(validation && { validation: await part(validation) }) }
}

/** @throws UserError unless there are two classes, each with a file */
function checkClasses(classes: ClassFolder[], where: string): ClassFolder[] {
  if (classes.length === 0)
    throw new UserError(`${where}: holds no folders; put the images of each class into a folder of its name`)
  if (classes.length === 1)
    throw new UserError(
      `${where}: holds only the class ${classes[0]!.name}; name the folder that holds a folder for each of two or more classes`,
    )
  const empty = classes.find(({ files }) => files.length === 0)
  if (empty) throw new UserError(`${join(where, empty.name)}: holds no images; add some, or remove the folder`)
  return classes
}

async function classFolders(dir: string, split: string | undefined, budget: { files: number }): Promise<ClassFolder[]> {
  const folder = split === undefined ? dir : join(dir, split)
  const above = await Promise.all([dir, folder].map(files.identityOf))
  const classes: ClassFolder[] = []
  for (const name of await foldersIn(folder)) {
    const path = join(folder, name)
    if (name.length > MAX_NAME) throw new UserError(`${path}: a class name of more than ${MAX_NAME} characters; shorten it`)
    const seen = new Set([...above, await files.identityOf(path)])
    const found = await filesBelow(path, split === undefined ? name : `${split}/${name}`, seen, budget, dir)
    classes.push({ name, files: found })
  }
  return classes
}

/** Lists the files below a folder in the order of their names. @throws UserError when it cannot be read, or has more than `most` */
export async function filesIn(path: string, most = MAX_FILES): Promise<FoundFile[]> {
  return filesBelow(path, '', new Set([await files.identityOf(path)]), { files: most }, path)
}

/**
 * Lists files in the order of their names, those of a folder in its place.
 * @param seen the folders that are not entered again
 * @param budget the number of files that may still be found, which goes down
 */
async function filesBelow(
  path: string,
  name: string,
  seen: Set<string>,
  budget: { files: number },
  dir: string,
): Promise<FoundFile[]> {
  const found: FoundFile[] = []
  for (const entry of await entriesOf(path)) {
    const file: FoundFile = { path: join(path, entry.name), name: name === '' ? entry.name : `${name}/${entry.name}` }
    if (entry.kind === 'folder') {
      const identity = await files.identityOf(file.path)
      if (seen.has(identity)) continue
      seen.add(identity)
      for (const inside of await filesBelow(file.path, file.name, seen, budget, dir)) found.push(inside)
      continue
    }
    if (--budget.files < 0) throw new UserError(`${dir}: holds too many files for one data set; name a folder of fewer`)
    found.push(entry.wrong === undefined ? file : { ...file, wrong: entry.wrong })
  }
  return found
}

/** Returns the names of the files in a folder, in order. @throws UserError when it cannot be read */
export async function fileNamesIn(path: string): Promise<string[]> {
  return (await entriesOf(path)).filter(({ kind }) => kind === 'file').map(({ name }) => name)
}

/** Returns the names of the folders in a folder, in order. */
async function foldersIn(path: string): Promise<string[]> {
  const entries = await entriesOf(path)
  const odd = entries.find(({ wrong }) => wrong !== undefined)
  if (odd) throw new UserError(`${join(path, odd.name)}: ${odd.wrong}; remove it`)
  return entries.filter(({ kind }) => kind === 'folder').map(({ name }) => name)
}

/** Returns the entries of a folder in the order of their names, without hidden ones. */
async function entriesOf(path: string): Promise<FolderEntry[]> {
  const kept = (await files.entries(path)).filter(({ name }) => !name.startsWith('.') && !SYSTEM.includes(name))
  return kept.sort((a, b) => (a.name < b.name ? -1 : 1))
}
