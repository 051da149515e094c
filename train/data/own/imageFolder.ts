import { join, sha256 } from '#platform'
import { UserError } from '../../../engine/base/errors.ts'
import type { Dataset } from '../dataset.ts'
import { labelsOf, MAX_CLASSES } from '../labels.ts'
import type { Split } from '../split.ts'
import { shuffledNames, testCount } from './division.ts'
import { type ClassFolder, type ClassFolders, type FoundFile, findClassFolders } from './folders.ts'
import { decodeFiles, defaultSide } from './images.ts'
import type { OwnOptions } from './options.ts'
import { channelStatistics } from './statistics.ts'

/** The share of each class that is for tests, where no folder says which images are. */
export const TEST_SHARE = 0.2

/**
 * Loads a folder of image files for each class (see `findClassFolders`). Where there are no folders of splits, a share of each class is
 * for tests, chosen by seed and file name. Images come in a random order that the same two decide, so that the first of them are of all
 * classes.
 * @throws UserError in one line: which folder or file, what is wrong, what to do
 */
export async function loadImageFolder(dir: string, options: OwnOptions): Promise<Dataset> {
  const { seed = 0, testShare = TEST_SHARE, multipleOf = 1 } = options
  const folders = await findClassFolders(dir)
  const classNames = classOrder(dir, folders.train, options.classNames)
  const inFolders = folders.train.flatMap(({ files }) => files)
  const side = options.imageSize ?? (await defaultSide(inFolders, multipleOf))
  const { images, channels, files, leftOut } = await decodeFiles(await divide(folders, seed, testShare), {
    ...options,
    side,
  })
  const label = new Map(classNames.map((name, i) => [name, i]))
  const labels = labelsOf(
    classNames.length,
    files.map((file) => label.get(file.class)!),
  )
  const pixels = channels * side * side
  const cut = (from: number, to: number): Split => ({
    images: images.subarray(from * pixels, to * pixels),
    labels: labels.subarray(from, to),
    count: to - from,
  })
  const [train, validation, test] = PARTS.map((part) => files.filter((file) => file.part === part).length) as [
    number,
    number,
    number,
  ]
  const learned = new Set(labels.subarray(0, train))
  const lost = classNames.find((_, i) => !learned.has(i))
  if (lost !== undefined)
    throw new UserError(`${join(dir, lost)}: no image of it is left to train on; add some, or remove the folder`)
  if (test === 0) throw new UserError(`${dir}: no image is left to test on; add some`)
  const held = Int32Array.from({ length: validation }, (_, i) => train + i)
  return {
    name: 'images',
    channels,
    height: side,
    width: side,
    classes: classNames.length,
    ...channelStatistics(cut(0, train).images, channels, side * side),
    classNames,
    train: cut(0, train + validation),
    test: cut(train + validation, train + validation + test),
    ...(validation > 0 && { validation: held }),
    sha256: await checksums(files),
    ...(leftOut !== undefined && { leftOut }),
    own: { seed, testShare },
  }
}

/** The parts of a data set, in the order in which its files are decoded. */
const PARTS = ['train', 'validation', 'test'] as const

/** A file with the class that it shows, and the part that it belongs to. */
type ClassFile = FoundFile & { class: string; part: (typeof PARTS)[number] }

/** Divides the files into parts, one after the other, each in a random order. Parts that folders say are taken as they are. */
async function divide({ train, test, validation = [] }: ClassFolders, seed: number, testShare: number): Promise<ClassFile[]> {
  const ordered = async (classes: readonly ClassFolder[], part: ClassFile['part']): Promise<ClassFile[]> => {
    const files = classes.flatMap((folder) => folder.files.map((file) => ({ ...file, class: folder.name, part })))
    const byName = new Map(files.map((file) => [file.name, file]))
    return (await shuffledNames([...byName.keys()], seed)).map((name) => byName.get(name)!)
  }
  const all = await ordered(train, 'train')
  if (test) return [...all, ...(await ordered(validation, 'validation')), ...(await ordered(test, 'test'))]
  const wanted = new Map(train.map(({ name, files }) => [name, testCount(files.length, testShare)]))
  for (const file of all) {
    const left = wanted.get(file.class)!
    if (left > 0) file.part = 'test'
    wanted.set(file.class, left - 1)
  }
  return PARTS.flatMap((part) => all.filter((file) => file.part === part))
}

/** Returns the names of the classes in label order. @throws UserError when a model knows other ones, or there are too many */
function classOrder(dir: string, folders: readonly ClassFolder[], known: readonly string[] | undefined): string[] {
  const names = folders.map(({ name }) => name)
  if (names.length > MAX_CLASSES)
    throw new UserError(`${dir}: holds ${names.length} classes, more than ${MAX_CLASSES}; name a folder of fewer`)
  if (!known) return names
  const added = names.find((name) => !known.includes(name))
  const missing = known.find((name) => !names.includes(name))
  if (added === undefined && missing === undefined) return [...known]
  const what = added === undefined ? `lacks the class ${missing}` : `holds a class ${added}`
  const other = added === undefined ? 'which the model knows' : 'which the model does not know'
  throw new UserError(`${dir}: ${what}, ${other}; use the classes that it was trained on`)
}

/** Returns a checksum for each class, of the names and contents of its files. */
async function checksums(files: readonly (ClassFile & { sha256: string })[]): Promise<Record<string, string>> {
  const lines = new Map<string, string[]>()
  for (const { class: name, name: file, sha256 } of files) {
    if (!lines.has(name)) lines.set(name, [])
    lines.get(name)!.push(`${sha256} ${file}`)
  }
  const hashOf = (of: string[]) => sha256(new TextEncoder().encode(of.sort().join('\n')))
  const inOrder = [...lines].sort(([a], [b]) => (a < b ? -1 : 1))
  return Object.fromEntries(await Promise.all(inOrder.map(async ([name, of]) => [name, await hashOf(of)] as const)))
}
