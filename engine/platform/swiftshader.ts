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

/**
 * Finds the SwiftShader in the npm package `@sparticuz/chromium`. It is unpacked once into the cache, and its checksums are compared every time,
 * because loading a truncated library ends the process.
 * @returns undefined where that development dependency is not installed, or has nothing for this machine
 * @throws UserError when no cache folder can be written or the archive is broken
 */
export async function findSwiftShader(): Promise<SwiftShader | undefined> {
  if (process.platform !== 'linux' || process.arch !== 'x64') return undefined
  const root = packageRoot()
  if (!root) return undefined
  const archive = join(root, 'bin', 'swiftshader.tar.br')
  try {
    const packed = await readFile(archive)
    // The folder's name contains a hash of the archive, so the files in a folder never change.
    const name = `swiftshader-${sha256(packed).slice(0, 16)}`
    for (const cache of cacheFolders()) {
      const folder = join(cache, name)
      if (await isWhole(folder)) return filesOf(folder)
    }
    const folder = await makeCacheFolder(name)
    await unpack(packed, folder)
    return filesOf(folder)
  } catch (error) {
    throw new UserError(`SwiftShader cannot be unpacked: ${reason(error)}`)
  }
}

function filesOf(folder: string): SwiftShader {
  return { icd: join(folder, ICD), loader: join(folder, LOADER) }
}

/** Finds the folder of `@sparticuz/chromium` from its entry, build/cjs/index.cjs, because its exports hide its other files. */
function packageRoot(): string | undefined {
  try {
    return join(dirname(createRequire(import.meta.url).resolve('@sparticuz/chromium')), '..', '..')
  } catch {
    return undefined
  }
}

/**
 * Unpacks the archive into a folder. Each file is replaced atomically: a process that has loaded the old one keeps it, and two processes at
 * once write the same bytes.
 */
async function unpack(packed: Uint8Array, folder: string): Promise<void> {
  const entries = parseTar(await promisify(brotliDecompress)(packed))
  const sums: string[] = []
  for (const name of FILES) {
    const data = entries.find((entry) => entry.name.replace(/^\.\//, '') === name)?.data
    if (!data) throw new UserError(`its package holds no ${name}; run npm ci again`)
    await writeFile(join(folder, name), data)
    sums.push(`${sha256(data)}  ${name}\n`)
  }
  await writeFile(join(folder, SUMS), sums.join(''))
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
