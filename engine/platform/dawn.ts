import { existsSync, readdirSync } from 'node:fs'
import { constants } from 'node:os'
import { create, globals } from 'webgpu'
import { findSwiftShader } from './swiftshader.ts'
import type { DeviceRequest } from './types.ts'

Object.assign(globalThis, globals)

/** An adapter and the Dawn instance it came from, which must stay referenced as long as the adapter is used: it does, see `instances`. */
export interface Found {
  gpu: GPU
  adapter: GPUAdapter
}

/** How Vulkan loaders, new and old, are told which drivers to load. */
const DRIVER_VARIABLES = ['VK_DRIVER_FILES', 'VK_ICD_FILENAMES']

/** Where drivers put their manifests. */
const DRIVER_FOLDERS = ['/etc/vulkan/icd.d', '/usr/local/share/vulkan/icd.d', '/usr/share/vulkan/icd.d']

/** RTLD_NODELETE of Linux, which Node does not name: the library stays when Node finds that it is no addon of its own. */
const RTLD_NODELETE = 0x1000

/**
 * The first adapter of this machine's drivers (or of those that VK_DRIVER_FILES names), real GPUs before software; with
 * `name`, the first whose name contains it.
 */
export async function systemAdapter(request: DeviceRequest, name?: string): Promise<Found | undefined> {
  return (await canProbe()) ? firstAdapter(request, name) : undefined
}

/** The names of all adapters of this machine's drivers. Dawn tells them only in the error for a name that none has. */
export async function systemNames(): Promise<string[]> {
  if (!(await canProbe())) return []
  try {
    await firstAdapter({}, '\n')
    return []
  } catch (error) {
    return [...String(error).matchAll(/^ \* backend: '.*?', name: '(.*)'$/gm)].map((match) => match[1]!)
  }
}

/** The SwiftShader that comes with the development dependency, if it is installed. */
export async function swiftShaderAdapter(request: DeviceRequest): Promise<Found | undefined> {
  const files = await findSwiftShader()
  if (!files) return undefined
  loadVulkan(files.loader)
  const before = DRIVER_VARIABLES.map((variable) => process.env[variable])
  for (const variable of DRIVER_VARIABLES) process.env[variable] = files.icd
  // Each Dawn instance makes a VkInstance of its own, and the drivers are loaded before requestAdapter returns its promise:
  // the variables need not outlive the call, and neither later instances nor child processes see them.
  const found = firstAdapter(request)
  DRIVER_VARIABLES.forEach((variable, i) => {
    if (before[i] === undefined) delete process.env[variable]
    else process.env[variable] = before[i]
  })
  return found
}

/**
 * Dawn's instances by the drivers that they look at, kept since adapters need them. One serves all devices: each has threads of its own and of
 * its drivers, which stay when its devices are gone.
 */
const instances = new Map<string, GPU>()

async function firstAdapter(request: DeviceRequest, name?: string): Promise<Found | undefined> {
  // Unsafe in Dawn's words are features that it has for trial, such as subgroup matrices.
  const flags = [
    'enable-dawn-features=allow_unsafe_apis,vulkan_enable_f16_on_nvidia',
    'disable-dawn-features=timestamp_quantization',
  ]
  if (name !== undefined) flags.push(`adapter=${name}`)
  const key = [name, ...DRIVER_VARIABLES.map((variable) => process.env[variable])].join('\n')
  const gpu = instances.get(key) ?? create(flags)
  instances.set(key, gpu)
  const { powerPreference } = request
  const adapter = await gpu.requestAdapter(powerPreference ? { powerPreference } : {})
  return adapter ? { gpu, adapter } : undefined
}

/**
 * Whether it makes sense to look for the machine's own drivers. Containers often get a GPU's driver without a Vulkan loader:
 * the bundled one serves there. Without any driver Dawn would only print warnings that nobody can use.
 */
async function canProbe(): Promise<boolean> {
  if (process.platform !== 'linux' || loadVulkan() === 'system') return true
  const named = DRIVER_VARIABLES.some((variable) => process.env[variable])
  if (!named && !DRIVER_FOLDERS.some((folder) => existsSync(folder) && readdirSync(folder).length > 0)) return false
  const files = await findSwiftShader()
  return files !== undefined && loadVulkan(files.loader) !== undefined
}

let loader: 'system' | 'bundled' | undefined

/** Loads the machine's Vulkan loader, or else the bundled one. Dawn, which asks for it by name, then finds it. */
function loadVulkan(bundled?: string): typeof loader {
  if (!loader && loadLibrary('libvulkan.so.1')) loader = 'system'
  if (!loader && bundled && loadLibrary(bundled)) loader = 'bundled'
  return loader
}

/** Loads a shared library into the process, for good. */
function loadLibrary(path: string): boolean {
  try {
    process.dlopen({ exports: {} }, path, constants.dlopen.RTLD_NOW | constants.dlopen.RTLD_GLOBAL | RTLD_NODELETE)
    return true
  } catch (error) {
    // Node's own words for a library that did load but is no addon.
    return String(error).includes('did not self-register')
  }
}
