import { existsSync, readdirSync } from 'node:fs'
import { constants } from 'node:os'
import { getOrMake } from '../base/maps.ts'
import { findKeptDawn } from './keptDawn.ts'
import { optional } from './optional.ts'
import { findSwiftShader } from './swiftshader.ts'
import type { DeviceRequest } from './types.ts'

/** An adapter, with the Dawn instance that made it. */
export interface Found {
  gpu: GPU
  adapter: GPUAdapter
}

/** The environment variables that name the drivers to load, of new and of old Vulkan loaders. */
const DRIVER_VARIABLES = ['VK_DRIVER_FILES', 'VK_ICD_FILENAMES']

/** The folders of the drivers' manifests. */
const DRIVER_FOLDERS = ['/etc/vulkan/icd.d', '/usr/local/share/vulkan/icd.d', '/usr/share/vulkan/icd.d']

type Dawn = typeof import('webgpu')

let loaded: Promise<Dawn> | undefined

/** Loads Dawn before the first adapter, and makes the constants of WebGPU global, as they are in browsers. */
function loadDawn(): Promise<Dawn> {
  loaded ??= load().catch((error) => {
    loaded = undefined
    throw error
  })
  return loaded
}

/** Imports Dawn as npm has installed it, or else as the cache keeps it. */
async function load(): Promise<Dawn> {
  const importing = import('webgpu').catch(async (error) => {
    const kept = await findKeptDawn()
    if (kept === undefined) throw error
    return (await import(kept)) as Dawn
  })
  const dawn = await optional(importing, 'webgpu', 'no WebGPU device can be opened', ' or npx paraformer setup')
  Object.assign(globalThis, dawn.globals)
  return dawn
}

/** Linux's RTLD_NODELETE, which Node does not export. With it the library stays loaded after Node finds that it is no addon. */
const RTLD_NODELETE = 0x1000

/**
 * Finds the first adapter of this machine's drivers, or of those that VK_DRIVER_FILES names; real GPUs come before software.
 * @param name part of the adapter's name; default: any
 */
export async function systemAdapter(request: DeviceRequest, name?: string): Promise<Found | undefined> {
  const dawn = await loadDawn()
  return (await canProbe()) ? firstAdapter(dawn, request, name) : undefined
}

/** Lists the names of all adapters of this machine's drivers. Dawn names them only in its error for an unknown name. */
export async function systemNames(): Promise<string[]> {
  const dawn = await loadDawn()
  if (!(await canProbe())) return []
  try {
    await firstAdapter(dawn, {}, '\n')
    return []
  } catch (error) {
    return [...String(error).matchAll(/^ \* backend: '.*?', name: '(.*)'$/gm)].map((match) => match[1]!)
  }
}

/** Finds the adapter of the SwiftShader that `findSwiftShader` finds. */
export async function swiftShaderAdapter(request: DeviceRequest): Promise<Found | undefined> {
  const dawn = await loadDawn()
  const files = await findSwiftShader()
  if (!files) return undefined
  loadVulkan(files.loader)
  const before = DRIVER_VARIABLES.map((variable) => process.env[variable])
  for (const variable of DRIVER_VARIABLES) process.env[variable] = files.icd
  // Each Dawn instance makes a VkInstance of its own and loads the drivers before requestAdapter returns its promise. So the variables
  // are needed during the call only, and neither later instances nor child processes see them.
  const found = firstAdapter(dawn, request)
  DRIVER_VARIABLES.forEach((variable, i) => {
    if (before[i] === undefined) delete process.env[variable]
    else process.env[variable] = before[i]
  })
  return found
}

/**
 * Dawn's instances by the drivers that they load. They are kept because their adapters need them, and shared because each has threads, its own
 * and its drivers', that stay when its devices are gone.
 */
const instances = new Map<string, GPU>()

async function firstAdapter({ create }: Dawn, request: DeviceRequest, name?: string): Promise<Found | undefined> {
  // Dawn calls its experimental features unsafe, such as subgroup matrices.
  const flags = [
    'enable-dawn-features=allow_unsafe_apis,vulkan_enable_f16_on_nvidia',
    'disable-dawn-features=timestamp_quantization',
  ]
  if (name !== undefined) flags.push(`adapter=${name}`)
  const key = [name, ...DRIVER_VARIABLES.map((variable) => process.env[variable])].join('\n')
  const gpu = getOrMake(instances, key, () => create(flags))
  const { powerPreference } = request
  const adapter = await gpu.requestAdapter(powerPreference ? { powerPreference } : {})
  return adapter ? { gpu, adapter } : undefined
}

/**
 * Whether the machine may have drivers of its own, and a Vulkan loader for them. Containers often have a GPU's driver but no loader, so the
 * bundled loader is used there. Without any driver Dawn would only print warnings.
 */
async function canProbe(): Promise<boolean> {
  if (process.platform !== 'linux' || loadVulkan() === 'system') return true
  const named = DRIVER_VARIABLES.some((variable) => process.env[variable])
  if (!named && !DRIVER_FOLDERS.some((folder) => existsSync(folder) && readdirSync(folder).length > 0)) return false
  const files = await findSwiftShader()
  return files !== undefined && loadVulkan(files.loader) !== undefined
}

let loader: 'system' | 'bundled' | undefined

/** Loads the machine's Vulkan loader, or the bundled one where there is none. Dawn then finds it by its name. */
function loadVulkan(bundled?: string): typeof loader {
  if (!loader && loadLibrary('libvulkan.so.1')) loader = 'system'
  if (!loader && bundled && loadLibrary(bundled)) loader = 'bundled'
  return loader
}

/** Loads a shared library into the process for good. @returns whether that worked */
function loadLibrary(path: string): boolean {
  try {
    process.dlopen({ exports: {} }, path, constants.dlopen.RTLD_NOW | constants.dlopen.RTLD_GLOBAL | RTLD_NODELETE)
    return true
  } catch (error) {
    // Node says this of a library that is loaded but is no addon.
    return String(error).includes('did not self-register')
  }
}
