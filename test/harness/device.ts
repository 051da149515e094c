import { openDevice } from '#platform'
import { capabilitiesOf } from '../../engine/device/capabilities.ts'
import { PipelineCache } from '../../engine/submit/pipelines.ts'

/** Opens a bare GPUDevice with a pipeline cache, for tests of kernels without the engine. */
export async function kernelDevice() {
  const { device, summary } = await openDevice({})
  const capabilities = capabilitiesOf(device, summary)
  return { device, summary, capabilities, pipelines: new PipelineCache(device) }
}

export type KernelDevice = Awaited<ReturnType<typeof kernelDevice>>
