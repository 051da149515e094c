import { refusal } from '../base/checks.ts'
import { UserError } from '../base/errors.ts'
import { type AdapterReport, type AdapterSummary, type DeviceRequest, SUBGROUP_MATRIX } from './types.ts'

/** Features that the engine uses where a device has them. */
const WANTED: readonly GPUFeatureName[] = ['subgroups', 'shader-f16', 'timestamp-query', SUBGROUP_MATRIX]

/** Limits that are raised to the adapter's: sizes of buffers, of workgroups and of workgroup memory. */
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

/** Storage buffers of a stage to request, where the adapter has so many: WebGPU guarantees 8 and often has 10. */
const STORAGE_BUFFERS = 10

/** Matches the names of drivers that need no GPU. */
const SOFTWARE = /llvmpipe|lavapipe|swiftshader|softpipe|basic-render/

/** Spells a name as WebGPU does: in lower case, with one dash for each run of other characters than letters and digits. */
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

/** Whether `asked` means an adapter: undefined means any, or it is `gpu`, `lavapipe`, `swiftshader`, or a part of the name. */
export function matches(asked: string | undefined, adapter: { name: string; software: boolean }): boolean {
  if (asked === undefined) return true
  const wanted = normalize(asked)
  if (wanted === 'gpu') return !adapter.software
  const name = normalize(adapter.name)
  return name.includes(wanted === 'lavapipe' ? 'llvmpipe' : wanted)
}

/** Dawn's description of matrices that subgroups multiply. */
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

/** Summarizes an adapter. Browsers leave much of its information empty. */
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

/** Returns the summary of an adapter with its features and limits. */
export function report(adapter: GPUAdapter): AdapterReport {
  const limits: Record<string, number> = {}
  // Limits are getters of the prototype, which Object.entries leaves out.
  for (const name in adapter.limits) {
    const value = adapter.limits[name as keyof GPUSupportedLimits]
    if (typeof value === 'number') limits[name] = value
  }
  return { ...summarize(adapter), features: [...adapter.features].sort(), limits }
}

/**
 * Opens a device with the features of the engine and of the request, and with the adapter's limits.
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

/** Describes an adapter in one line, with advice for a faster one. @throws ArgumentError unless `summary` is the summary of an adapter */
export function describe(summary: AdapterSummary): string {
  if (typeof summary?.name !== 'string') throw refusal('describe', summary, 'the summary of a device')
  const { name, driver } = summary
  if (!summary.software) return `WebGPU on ${name}${driver && ` (${driver})`}`
  if (name.includes('swiftshader')) {
    return `WebGPU on SwiftShader, on the CPU; a GPU is faster, and so is lavapipe (Debian, Ubuntu: npx paraformer setup --lavapipe)`
  }
  return `WebGPU on ${name}, on the CPU${driver && ` (${driver})`}; a GPU with a Vulkan driver is faster`
}
