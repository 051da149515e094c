import { refusal } from '../base/checks.ts'
import { UserError } from '../base/errors.ts'
import { type AdapterReport, type AdapterSummary, type DeviceRequest, SUBGROUP_MATRIX } from './types.ts'

/** Features the engine uses when a device has them. */
const WANTED: readonly GPUFeatureName[] = ['subgroups', 'shader-f16', 'timestamp-query', SUBGROUP_MATRIX]

/** Limits worth raising to what the adapter has: sizes of buffers, of workgroups and of their memory. */
const RAISED = [
  'maxBufferSize',
  'maxStorageBufferBindingSize',
  'maxComputeInvocationsPerWorkgroup',
  'maxComputeWorkgroupSizeX',
  'maxComputeWorkgroupSizeY',
  'maxComputeWorkgroupSizeZ',
  'maxComputeWorkgroupStorageSize',
  'maxComputeWorkgroupsPerDimension',
] as const

/** Storage buffers of a stage to ask for, where the adapter has that many: WebGPU guarantees 8 and often has 10. */
const STORAGE_BUFFERS = 10

/** Names that drivers without a GPU go by. */
const SOFTWARE = /llvmpipe|lavapipe|swiftshader|softpipe|basic-render/

/** A name as WebGPU spells them: lower case, runs of anything but letters and digits become one dash. */
export function normalize(name: string): string {
  return name
    .toLowerCase()
    .replace(/[^a-z0-9]+/g, '-')
    .replace(/^-|-$/g, '')
}

/** Whether an adapter of this name computes on the CPU. */
export function isSoftware(name: string): boolean {
  return SOFTWARE.test(normalize(name))
}

/** Whether an adapter is what `asked` means: undefined (any), `gpu`, `lavapipe`, `swiftshader`, or a part of its name. */
export function matches(asked: string | undefined, adapter: { name: string; software: boolean }): boolean {
  if (asked === undefined) return true
  const wanted = normalize(asked)
  if (wanted === 'gpu') return !adapter.software
  const name = normalize(adapter.name)
  return name.includes(wanted === 'lavapipe' ? 'llvmpipe' : wanted)
}

/** What Dawn tells of the matrices that subgroups multiply. */
interface MatrixConfig {
  componentType: string
  resultComponentType: string
  M: number
  N: number
  K: number
}

type MatrixInfo = GPUAdapterInfo & { subgroupMatrixConfigs?: readonly MatrixConfig[] }

function isHalf16({ componentType, resultComponentType, M, N, K }: MatrixConfig): boolean {
  return componentType === 'f16' && resultComponentType === 'f32' && M === 16 && N === 16 && K === 16
}

/** The adapter in words, from what WebGPU tells of it; browsers leave much of it empty. */
export function summarize(adapter: GPUAdapter): AdapterSummary {
  const { info } = adapter
  const name = normalize(info.device || info.description || `${info.vendor} ${info.architecture}`) || 'unnamed adapter'
  const subgroups = adapter.features.has('subgroups')
  return {
    name,
    vendor: info.vendor,
    architecture: info.architecture,
    driver: info.description,
    software: info.isFallbackAdapter || isSoftware(`${name} ${info.description} ${info.architecture}`),
    subgroupMinSize: subgroups ? (info.subgroupMinSize ?? 0) : 0,
    subgroupMaxSize: subgroups ? (info.subgroupMaxSize ?? 0) : 0,
    subgroupMatrix:
      adapter.features.has(SUBGROUP_MATRIX) && (info as MatrixInfo).subgroupMatrixConfigs?.some(isHalf16) === true,
  }
}

/** The adapter with its features and limits. */
export function report(adapter: GPUAdapter): AdapterReport {
  const limits: Record<string, number> = {}
  // Limits are getters of the prototype, which Object.entries does not see.
  for (const name in adapter.limits) {
    const value = adapter.limits[name as keyof GPUSupportedLimits]
    if (typeof value === 'number') limits[name] = value
  }
  return { ...summarize(adapter), features: [...adapter.features].sort(), limits }
}

/**
 * Opens a device with the features of the engine and of the request, and the adapter's own limits.
 * @throws UserError for a feature that the adapter lacks
 */
export async function requestFrom(adapter: GPUAdapter, request: DeviceRequest): Promise<GPUDevice> {
  const required = request.features ?? []
  const lacking = required.filter((name) => !adapter.features.has(name))
  if (lacking.length > 0) {
    const { name } = summarize(adapter)
    throw new UserError(`${name} has no feature ${lacking.join(', ')}; it has ${[...adapter.features].sort().join(', ')}`)
  }
  const requiredLimits: Record<string, number> = {}
  for (const name of RAISED) requiredLimits[name] = adapter.limits[name]
  requiredLimits.maxStorageBuffersPerShaderStage = Math.min(STORAGE_BUFFERS, adapter.limits.maxStorageBuffersPerShaderStage)
  return adapter.requestDevice({
    requiredFeatures: [...new Set([...WANTED.filter((name) => adapter.features.has(name)), ...required])],
    requiredLimits,
  })
}

/** One line on the adapter taken, and how to get a faster one. @throws ArgumentError for what is no summary of an adapter */
export function describe(summary: AdapterSummary): string {
  if (typeof summary?.name !== 'string') throw refusal('describe', summary, 'the summary of a device')
  const { name, driver } = summary
  if (!summary.software) return `WebGPU on ${name}${driver && ` (${driver})`}`
  if (name.includes('swiftshader')) {
    return `WebGPU on SwiftShader, on the CPU; a GPU is faster, and so is lavapipe (Debian, Ubuntu: npm run setup:lavapipe)`
  }
  return `WebGPU on ${name}, on the CPU${driver && ` (${driver})`}; a GPU with a Vulkan driver is faster`
}
