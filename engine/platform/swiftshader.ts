import { existsSync } from 'node:fs'
import { mkdtemp, readFile, rename, rm, writeFile } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { promisify } from 'node:util'
import { brotliDecompress } from 'node:zlib'
import { parseTar } from 'nanotar'
import { reason, UserError } from '../errors.ts'
import { cacheFolder } from './cache.ts'
import { makeFolder } from './files.ts'

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

/**
 * The SwiftShader that npm's `@sparticuz/chromium` carries, unpacked once into the cache. Undefined where the package is not
 * installed (it is a development dependency) or holds nothing for this machine.
 * @throws UserError when the cache cannot be written or the archive is broken
 */
export async function findSwiftShader(cache = cacheFolder()): Promise<SwiftShader | undefined> {
  if (process.platform !== 'linux' || process.arch !== 'x64') return undefined
  const root = packageRoot()
  if (!root) return undefined
  const archive = join(root, 'bin', 'swiftshader.tar.br')
  const { version } = JSON.parse(await readFile(join(root, 'package.json'), 'utf8')) as { version: string }
  const folder = join(cache, `swiftshader-${version}`)
  if (!isWhole(folder)) {
    try {
      await unpack(archive, folder)
    } catch (error) {
      throw new UserError(
        `SwiftShader cannot be unpacked into ${folder} (${reason(error)}); set XDG_CACHE_HOME to a writable folder`,
      )
    }
  }
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

/** Unpacks beside and renames, so that no process ever sees half a folder, and two at once both end with a whole one. */
async function unpack(archive: string, folder: string): Promise<void> {
  const entries = parseTar(await promisify(brotliDecompress)(await readFile(archive)))
  await makeFolder(dirname(folder))
  const temporary = await mkdtemp(`${folder}.`)
  try {
    for (const name of FILES) {
      const data = entries.find((entry) => entry.name.replace(/^\.\//, '') === name)?.data
      if (!data) throw new Error(`${archive} holds no ${name}`)
      await writeFile(join(temporary, name), data)
    }
    // Something that cleans up may have taken a file.
    if (!isWhole(folder)) await rm(folder, { recursive: true, force: true })
    await rename(temporary, folder).catch((error: unknown) => {
      if (!isWhole(folder)) throw error
    })
  } finally {
    await rm(temporary, { recursive: true, force: true })
  }
}

function isWhole(folder: string): boolean {
  return FILES.every((name) => existsSync(join(folder, name)))
}
