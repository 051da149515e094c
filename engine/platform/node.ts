import { create, globals } from 'webgpu'
import type { DeviceRequest, OpenedDevice } from './types.ts'

Object.assign(globalThis, globals)

/** Features the engine uses when a device has them. */
const WANTED: readonly GPUFeatureName[] = ['subgroups', 'shader-f16', 'timestamp-query']

export async function openDevice(request: DeviceRequest): Promise<OpenedDevice> {
  const gpu = create(['disable-dawn-features=timestamp_quantization'])
  const adapter = await gpu.requestAdapter(request.powerPreference ? { powerPreference: request.powerPreference } : {})
  if (!adapter) throw new Error('no WebGPU adapter')
  const { info, limits } = adapter
  const requiredFeatures = WANTED.filter((name) => adapter.features.has(name)).concat(request.features ?? [])
  const device = await adapter.requestDevice({
    requiredFeatures,
    requiredLimits: {
      maxStorageBufferBindingSize: limits.maxStorageBufferBindingSize,
      maxBufferSize: limits.maxBufferSize,
      maxComputeInvocationsPerWorkgroup: limits.maxComputeInvocationsPerWorkgroup,
      maxComputeWorkgroupSizeX: limits.maxComputeWorkgroupSizeX,
      maxComputeWorkgroupStorageSize: limits.maxComputeWorkgroupStorageSize,
    },
  })
  return {
    device,
    summary: {
      name: info.device || info.description,
      vendor: info.vendor,
      architecture: info.architecture,
      driver: info.description,
      software: info.isFallbackAdapter || /llvmpipe|swiftshader/i.test(info.description + info.device),
      subgroupMinSize: info.subgroupMinSize ?? 0,
      subgroupMaxSize: info.subgroupMaxSize ?? 0,
    },
    keepAlive: [gpu, adapter],
  }
}
