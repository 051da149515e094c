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

/** The files of SwiftShader in one folder. */
export interface SwiftShader {
  /** The manifest that a Vulkan loader reads; it names the driver relative to itself. */
  icd: string
  /** A Vulkan loader, for machines that have none. */
  loader: string
}

const ICD = 'vk_swiftshader_icd.json'
const LOADER = 'libvulkan.so.1'
const FILES: readonly string[] = [ICD, LOADER, 'libvk_swiftshader.so']
/** Says what the other files of a folder must be, one line each as `sha256sum` writes and checks them. */
const SUMS = 'SHA256SUMS'

/**
 * The SwiftShader that npm's `@sparticuz/chromium` carries, unpacked once into the cache and compared with its checksums every time: loading
 * a library that is cut short ends the process. Undefined where the package is not installed (it is a development dependency) or
 * holds nothing for this machine.
 * @throws UserError when no cache folder can be written or the archive is broken
 */
export async function findSwiftShader(): Promise<SwiftShader | undefined> {
  if (process.platform !== 'linux' || process.arch !== 'x64') return undefined
  const root = packageRoot()
  if (!root) return undefined
  const archive = join(root, 'bin', 'swiftshader.tar.br')
  try {
    const packed = await readFile(archive)
    // Named after its content, a folder never has to hold other files.
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

/** Where `@sparticuz/chromium` is installed; its exports hide its files, so the way goes over its entry, build/cjs/index.cjs. */
function packageRoot(): string | undefined {
  try {
    return join(dirname(createRequire(import.meta.url).resolve('@sparticuz/chromium')), '..', '..')
  } catch {
    return undefined
  }
}

/**
 * Unpacks into a folder file by file, each written beside and renamed: a process that has loaded a file keeps what it has, and two at
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

/** Whether every file is there and has its checksum. */
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
