import { createHash } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { optionalDependencies } from '../../package.json'
import { UserError } from '../base/errors.ts'
import { cacheFolders, makeCacheFolder } from './cache.ts'
import { writeFile } from './files.ts'

/** The npm package of Dawn for Node. It holds Dawn for every system, of which the cache keeps this machine's part alone. */
export const DAWN = { package: 'webgpu', version: optionalDependencies.webgpu } as const

const ENTRY = 'index.js'
const FOLDER = `webgpu-${DAWN.version}`

/** The SHA-256 of the package's files: of those that every system needs, and of each system's. */
const COMMON: Readonly<Record<string, string>> = {
  'LICENSE.md': '12b5a762d9f74ebc820c9ff13a79fd5108525c1fda37c5ab4fd924f89484aba2',
  [ENTRY]: 'eb21a162cc53f0d2b169a09595a7352e4c9d6518b367dabd34f13b6349d197c3',
}
const LICENSES = {
  'dxcompiler-LICENSE.TXT': '05f32c081b3c75cd2cc2a0655b571ba94ebcfc64e9ccca6e5a9e36d6cb67e540',
  'dxcompiler-ThirdPartyNotices.txt': '87539fdc00b6350520942dbb0683c56acba5e38f5ddbcded046a6958a1386188',
}
const SYSTEMS: Readonly<Record<string, Readonly<Record<string, string>>>> = {
  'darwin-universal': { 'dawn.node': 'f5b278f3dc65276bf1f8a667f91650d32585431d5b2d148ca729f67924c574a3' },
  'linux-arm64': { 'dawn.node': '474a272ac9be570b04fa3791576d32e56f574818e60190c6788a83be90233980' },
  'linux-x64': { 'dawn.node': 'ab18a659f8325e874ea45c80347b64336d7f748601102753d2bc669fdecfd710' },
  'win32-arm64': {
    ...LICENSES,
    'd3dcompiler_47.dll': '3cdd009ee909bb2e5123990f7d4ea690a1e968202c3adba861eda69f5e672752',
    'dawn.node': 'd0ef6fe1551cd08fb0fee2a8281d38008434697e5d9a6f3bfdcbb9ab00755672',
    'dxcompiler.dll': 'ed294f011f57eb8cfef061c2d91e56c1c192ca1a6ddaa315ccab7c2900029e6e',
  },
  'win32-x64': {
    ...LICENSES,
    'd3dcompiler_47.dll': '289767b49dc8525bce262ea06fee4ef9fced2e131a55b25654ce871c1f0498b2',
    'dawn.node': '75fff5db8a7541ad7a2d22c468e6f8bc3614b87c3b649c8ce712f7f5148ef338',
    'dxcompiler.dll': '04cf618004bf19f789f54e8931c7f7106223bccd354b093c4ff725c748512602',
  },
}

/** Lists the files of Dawn that this machine needs, with their SHA-256; undefined where Dawn is not built for it. */
export function filesOfDawn(platform: string = process.platform, arch: string = process.arch): Map<string, string> | undefined {
  const system = `${platform}-${platform === 'darwin' ? 'universal' : arch}`
  const own = SYSTEMS[system]
  if (!own) return undefined
  return new Map([
    ...Object.entries(own).map(([name, sum]) => [`dist/${system}/${name}`, sum] as const),
    ...Object.entries(COMMON),
  ])
}

/** Finds the Dawn that the cache keeps. All its files are compared, because loading a truncated library ends the process. @returns a URL to import */
export async function findKeptDawn(): Promise<string | undefined> {
  const files = filesOfDawn()
  if (!files) return undefined
  for (const cache of cacheFolders()) {
    const folder = join(cache, FOLDER)
    const sums = [...files].map(async ([name, sum]) => sha256(await readFile(join(folder, nameOf(name)))) === sum)
    const whole = await Promise.all(sums).then(
      (same) => same.every(Boolean),
      () => false,
    )
    if (whole) return pathToFileURL(join(folder, nameOf(ENTRY))).href
  }
  return undefined
}

/**
 * Keeps files of the package in the cache, where `findKeptDawn` finds them.
 * @param files by their paths in the package
 * @returns the folder
 * @throws UserError for a file that is missing or another one, or when no cache folder can be written
 */
export async function keepDawn(files: ReadonlyMap<string, Uint8Array>): Promise<string> {
  const wanted = filesOfDawn() ?? new Map<string, string>()
  for (const [name, expected] of wanted) {
    const found = sha256(files.get(name) ?? new Uint8Array())
    if (found !== expected)
      throw new UserError(`${DAWN.package}: the SHA-256 of ${name} is ${found}, not ${expected}; try again`)
  }
  const folder = await makeCacheFolder(FOLDER)
  for (const name of wanted.keys()) await writeFile(join(folder, nameOf(name)), files.get(name)!)
  return folder
}

/** The cache has no package.json, which says in the package that its entry is an ES module. */
function nameOf(name: string): string {
  return name === ENTRY ? 'index.mjs' : name
}

function sha256(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex')
}
