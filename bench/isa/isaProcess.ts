// The child process that compile.ts starts, with the variables of RADV: it compiles the shaders that it is sent, one after the other. The
// driver writes its listings to stderr, where a mark tells which shader they belong to.
import { writeSync } from 'node:fs'
import { type Device, reason, requestDevice } from '../../engine/index.ts'
import { type FromIsaProcess, markOf, type ToIsaProcess } from './protocol.ts'
import type { Source } from './source.ts'

// Dawn cannot take a device without hardware down, so that the process would not end by itself.
process.once('disconnect', () => process.kill(process.pid, 'SIGKILL'))

const answer = (message: FromIsaProcess) => process.send!(message)

try {
  const device = await requestDevice()
  answer({ kind: 'ready', name: device.summary.name, driver: device.summary.driver, capabilities: device.capabilities })
  process.on('message', async ({ sources }: ToIsaProcess) => {
    for (const [i, source] of sources.entries()) {
      writeSync(2, markOf(i))
      const error = await compile(device, source)
      writeSync(2, markOf('end'))
      answer({ kind: 'compiled', index: i, error })
    }
    answer({ kind: 'done' })
  })
} catch (error) {
  answer({ kind: 'closed', reason: reason(error) })
}

/** Compiles a shader. @returns the reason why WebGPU does not take it, or undefined */
async function compile({ gpu }: Device, { code, entryPoint, constants, storage }: Source): Promise<string | undefined> {
  gpu.pushErrorScope('validation')
  const module = gpu.createShaderModule({ code })
  const compute = { module, ...(entryPoint && { entryPoint }), ...(constants && { constants }) }
  gpu.createComputePipeline({ layout: storage ? layoutOf(gpu, storage) : 'auto', compute })
  return (await gpu.popErrorScope())?.message.split('\n')[0]
}

/** Makes the layout of our pipelines. */
function layoutOf(gpu: GPUDevice, storage: NonNullable<Source['storage']>): GPUPipelineLayout {
  const { COMPUTE: visibility } = GPUShaderStage
  const buffers = gpu.createBindGroupLayout({
    entries: storage.map((access, binding) => ({
      binding,
      visibility,
      buffer: { type: access === 'read' ? ('read-only-storage' as const) : ('storage' as const) },
    })),
  })
  const params = gpu.createBindGroupLayout({
    entries: [{ binding: 0, visibility, buffer: { type: 'uniform', hasDynamicOffset: true } }],
  })
  return gpu.createPipelineLayout({ bindGroupLayouts: [buffers, params] })
}
