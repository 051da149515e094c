import type { Capabilities } from '../../kernels/spec.ts'
import { type AdapterSummary, SUBGROUP_MATRIX } from '../platform/types.ts'

/** Reads what kernels may know of a device from its limits, its features and its adapter. */
export function capabilitiesOf(device: GPUDevice, summary: AdapterSummary): Capabilities {
  const { limits, features } = device
  const subgroups = features.has('subgroups')
  return {
    software: summary.software,
    gathersPrivate: /swiftshader/i.test(`${summary.name} ${summary.driver} ${summary.architecture}`),
    subgroupMinSize: subgroups ? summary.subgroupMinSize : 0,
    subgroupMaxSize: subgroups ? summary.subgroupMaxSize : 0,
    f16: features.has('shader-f16'),
    subgroupMatrix: features.has(SUBGROUP_MATRIX) && summary.subgroupMatrix,
    maxInvocations: Math.min(limits.maxComputeInvocationsPerWorkgroup, limits.maxComputeWorkgroupSizeX),
    maxWorkgroupMemory: limits.maxComputeWorkgroupStorageSize,
    maxWorkgroups: limits.maxComputeWorkgroupsPerDimension,
  }
}
