import { createHash } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { promisify } from 'node:util'
import { brotliDecompress } from 'node:zlib'
import { parseTar } from 'nanotar'
import { reason, UserError } from '../base/errors.ts'
import { cacheFolders, makeCacheFolder } from './cache.ts'
import { writeFile } from './files.ts'

/** Paths of SwiftShader's files, in one folder. */
export interface SwiftShader {
  /** The manifest for a Vulkan loader, with the driver's path relative to it. */
  icd: string
  /** A Vulkan loader, for machines that have none. */
  loader: string
}

const ICD = 'vk_swiftshader_icd.json'
const LOADER = 'libvulkan.so.1'
const FILES: readonly string[] = [ICD, LOADER, 'libvk_swiftshader.so']
/** The file with the checksums of the others, in the format of `sha256sum`. */
const SUMS = 'SHA256SUMS'

/** The archive that `installSwiftShader` takes, and the npm package that holds it. */
export const SWIFTSHADER = {
  package: '@sparticuz/chromium',
  version: '147.0.0',
  archive: 'bin/swiftshader.tar.br',
  sha256: 'f957ea867313f9815b71dc2ed30cce301e01db4f3973fbdb31ffa5391b0ec45a',
} as const

/** Whether SwiftShader is built for this machine. */
export function canRunSwiftShader(): boolean {
  return process.platform === 'linux' && process.arch === 'x64'
}

/**
 * Finds SwiftShader in the cache, or in the npm package `@sparticuz/chromium`, from which it is unpacked into the cache once. Its checksums are
 * compared every time, because loading a truncated library ends the process.
 * @returns undefined where neither has it, or has nothing for this machine
 * @throws UserError when no cache folder can be written or the archive is broken
 */
export async function findSwiftShader(): Promise<SwiftShader | undefined> {
  if (!canRunSwiftShader()) return undefined
  const root = packageRoot()
  try {
    const packed = root === undefined ? undefined : await readFile(join(root, SWIFTSHADER.archive))
    const name = folderName(packed ? sha256(packed) : SWIFTSHADER.sha256)
    for (const cache of cacheFolders()) {
      const folder = join(cache, name)
      if (await isWhole(folder)) return filesOf(folder)
    }
    return packed && (await unpack(packed, name))
  } catch (error) {
    throw new UserError(`SwiftShader cannot be unpacked: ${reason(error)}`)
  }
}

/**
 * Unpacks the archive of SwiftShader into the cache, where `findSwiftShader` finds it.
 * @returns the folder
 * @throws UserError when the archive is another one, or no cache folder can be written
 */
export async function installSwiftShader(packed: Uint8Array): Promise<string> {
  const found = sha256(packed)
  if (found !== SWIFTSHADER.sha256)
    throw new UserError(`${SWIFTSHADER.archive}: its SHA-256 is ${found}, not ${SWIFTSHADER.sha256}`)
  return dirname((await unpack(packed, folderName(found))).icd)
}

/** The name of the folder contains the hash of the archive, so that the files in a folder never change. */
function folderName(hash: string): string {
  return `swiftshader-${hash.slice(0, 16)}`
}

function filesOf(folder: string): SwiftShader {
  return { icd: join(folder, ICD), loader: join(folder, LOADER) }
}

/** Finds the folder of `@sparticuz/chromium` from its entry, build/cjs/index.cjs, because its exports hide its other files. */
function packageRoot(): string | undefined {
  try {
    return join(dirname(createRequire(import.meta.url).resolve(SWIFTSHADER.package)), '..', '..')
  } catch {
    return undefined
  }
}

/**
 * Unpacks the archive into a folder of the cache. Each file is replaced atomically: a process that has loaded the old one keeps it, and two processes at
 * once write the same bytes.
 */
async function unpack(packed: Uint8Array, name: string): Promise<SwiftShader> {
  const folder = await makeCacheFolder(name)
  const entries = parseTar(await promisify(brotliDecompress)(packed))
  const sums: string[] = []
  for (const file of FILES) {
    const data = entries.find((entry) => entry.name.replace(/^\.\//, '') === file)?.data
    if (!data) throw new UserError(`the package ${SWIFTSHADER.package} holds no ${file}; install it anew`)
    await writeFile(join(folder, file), data)
    sums.push(`${sha256(data)}  ${file}\n`)
  }
  await writeFile(join(folder, SUMS), sums.join(''))
  return filesOf(folder)
}

/** Whether all files exist and have their checksums. */
async function isWhole(folder: string): Promise<boolean> {
  try {
    const sums = await readFile(join(folder, SUMS), 'utf8')
    const found = await Promise.all(FILES.map(async (name) => `${sha256(await readFile(join(folder, name)))}  ${name}\n`))
    return found.join('') === sums
  } catch {
    return false
  }
}

function sha256(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex')
}
