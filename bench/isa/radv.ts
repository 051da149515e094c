import { execFile } from 'node:child_process'
import { existsSync, readdirSync } from 'node:fs'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { reason, UserError } from '../../engine/index.ts'

/** The source of the layer, which every build puts beside the code. */
const LAYER = fileURLToPath(new URL('./nullCommands.c', import.meta.url))

/** Folders of the drivers' manifests. */
const DRIVERS = ['/etc/vulkan/icd.d', '/usr/local/share/vulkan/icd.d', '/usr/share/vulkan/icd.d']

/** C compilers to try; CC names another one. */
const COMPILERS = ['gcc', 'cc', 'clang']

/** RADV for a GPU that is not there: the variables of a process whose Dawn finds it, and a folder of its own. */
export interface Radv {
  folder: string
  environment: Record<string, string>
  close(): Promise<void>
}

/** Returns the manifest of RADV. @throws UserError where it is not installed */
export function radvManifest(): string {
  for (const folder of DRIVERS) {
    const name = existsSync(folder) ? readdirSync(folder).find((file) => /^radeon_icd.*\.json$/.test(file)) : undefined
    if (name) return join(folder, name)
  }
  throw new UserError(
    'bench isa needs RADV, the compiler of AMD GPUs, of Mesa 23 or later; run: npx paraformer setup --lavapipe (or install mesa-vulkan-drivers)',
  )
}

/**
 * Builds the layer that swallows commands and prepares RADV for a family of GPUs.
 * @throws UserError where RADV or a C compiler is missing
 */
export async function openRadv(family: string): Promise<Radv> {
  const manifest = radvManifest()
  const folder = await mkdtemp(join(tmpdir(), 'paraformer-isa-'))
  const close = () => rm(folder, { recursive: true, force: true })
  try {
    const library = join(folder, 'nullCommands.so')
    await buildLayer(library)
    const layer = {
      name: 'VK_LAYER_paraformer_null_commands',
      type: 'GLOBAL',
      library_path: library,
      api_version: '1.4.0',
      implementation_version: '1',
      description: 'accepts commands and executes none',
    }
    await writeFile(join(folder, 'nullCommands.json'), JSON.stringify({ file_format_version: '1.2.0', layer }))
    return {
      folder,
      close,
      environment: {
        RADV_FORCE_FAMILY: family,
        RADV_DEBUG: 'shaderstats,asm,nocache',
        MESA_SHADER_CACHE_DISABLE: 'true',
        VK_DRIVER_FILES: manifest,
        VK_ICD_FILENAMES: manifest,
        VK_LAYER_PATH: folder,
        VK_INSTANCE_LAYERS: layer.name,
      },
    }
  } catch (error) {
    await close()
    throw error
  }
}

async function buildLayer(library: string): Promise<void> {
  const compilers = process.env.CC ? [process.env.CC] : COMPILERS
  for (const compiler of compilers) {
    try {
      await promisify(execFile)(compiler, ['-shared', '-fPIC', '-O1', '-o', library, LAYER])
      return
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT')
        throw new UserError(`${compiler} does not build ${LAYER}: ${reason(error)}`)
    }
  }
  throw new UserError(
    `bench isa needs a C compiler to build a small Vulkan layer, and finds no ${compilers.join(', ')}; run: apt-get install gcc libc6-dev`,
  )
}
