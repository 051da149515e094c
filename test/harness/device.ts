import { openDevice } from '#platform'
import { capabilitiesOf } from '../../engine/device/capabilities.ts'
import { PipelineCache } from '../../engine/submit/pipelines.ts'

/** A bare GPUDevice with a pipeline cache, for tests of kernels alone. */
export async function kernelDevice() {
  const { device, summary } = await openDevice({})
  const capabilities = capabilitiesOf(device, summary)
  return { device, summary, capabilities, pipelines: new PipelineCache(device) }
}

export type KernelDevice = Awaited<ReturnType<typeof kernelDevice>>
