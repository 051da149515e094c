import { PARAM_SLOT } from '../../engine/pipelines.ts'
import { fillCase, findTouched, toleranceOf, valuesOf } from '../../kernels/fill.ts'
import type { Arrays, KernelCase, KernelEntry, Variant } from '../../kernels/spec.ts'
import { bindingDtype, packParams } from '../../kernels/spec.ts'
import type { KernelDevice } from './device.ts'
import { assertClose } from './errors.ts'

export { normal, seededRandom as testRandom } from '../../kernels/fill.ts'

/** Elements written behind every buffer; a kernel that touches them fails. */
const GUARD = 64

/**
 * Runs one case on one variant and compares every buffer with the float64 reference: guards must be untouched, NaN and Inf
 * are looked for first, then the norm-relative error.
 */
export async function checkKernel(
  on: KernelDevice,
  entry: KernelEntry,
  kase: KernelCase,
  variant: Variant<any>,
): Promise<void> {
  const { device, capabilities } = on
  const { spec } = entry
  const memory = fillCase(spec, kase, GUARD)
  const arrays: Arrays = {}
  for (const binding of spec.bindings) {
    const { name } = binding
    arrays[name] = Float64Array.from(valuesOf(bindingDtype(binding, kase.problem), memory.get(name)!, kase.sizes[name]!))
  }
  const expected = entry.reference(kase.problem, arrays)

  const constants = variant.constants?.(kase.problem, capabilities) ?? {}
  const compiled = on.pipelines.get(spec, variant, constants)
  const pipeline = await compiled.ready
  const usage = GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_SRC | GPUBufferUsage.COPY_DST
  const buffers = spec.bindings.map((binding) => {
    const bytes = memory.get(binding.name)!
    const buffer = device.createBuffer({ size: bytes.byteLength, usage })
    device.queue.writeBuffer(buffer, 0, bytes)
    return buffer
  })
  const block = new ArrayBuffer(PARAM_SLOT)
  const words = { u32: new Uint32Array(block), i32: new Int32Array(block), f32: new Float32Array(block) }
  packParams(spec.params, kase.problem, words, 0)
  const params = device.createBuffer({ size: PARAM_SLOT, usage: GPUBufferUsage.UNIFORM | GPUBufferUsage.COPY_DST })
  device.queue.writeBuffer(params, 0, block)

  device.pushErrorScope('validation')
  const encoder = device.createCommandEncoder()
  const pass = encoder.beginComputePass()
  pass.setPipeline(pipeline)
  pass.setBindGroup(
    0,
    device.createBindGroup({
      layout: compiled.bindGroupLayout,
      entries: buffers.map((buffer, binding) => ({ binding, resource: { buffer } })),
    }),
  )
  pass.setBindGroup(
    1,
    device.createBindGroup({
      layout: on.pipelines.paramLayout,
      entries: [{ binding: 0, resource: { buffer: params, size: PARAM_SLOT } }],
    }),
    [0],
  )
  pass.dispatchWorkgroups(...variant.grid(kase.problem, constants))
  pass.end()
  device.queue.submit([encoder.finish()])
  const error = await device.popErrorScope()
  if (error) throw new Error(`${compiled.label}: ${error.message}`)

  const label = `${spec.name}/${variant.name} ${kase.name}`
  for (const [i, binding] of spec.bindings.entries()) {
    if (binding.access === 'read') continue
    const bytes = await readBuffer(device, buffers[i]!)
    const size = kase.sizes[binding.name]!
    const dtype = bindingDtype(binding, kase.problem)
    const touched = findTouched(dtype, bytes, size)
    if (touched >= 0) throw new Error(`${label}: wrote ${binding.name}[${touched}], behind its end`)
    const want = expected[binding.name]
    if (!want) throw new Error(`${label}: the reference gives no ${binding.name}`)
    const actual = valuesOf(dtype, bytes, size)
    if (dtype === 'f32' || dtype === 'f16') {
      assertClose(actual, want, toleranceOf(kase, dtype), `${label}: ${binding.name}`)
    } else {
      const at = want.findIndex((value, j) => value !== actual[j])
      if (at >= 0) throw new Error(`${label}: ${binding.name}[${at}] is ${actual[at]}, expected ${want[at]}`)
    }
  }
  for (const buffer of [...buffers, params]) buffer.destroy()
}

async function readBuffer(device: GPUDevice, source: GPUBuffer): Promise<ArrayBuffer> {
  const staging = device.createBuffer({ size: source.size, usage: GPUBufferUsage.MAP_READ | GPUBufferUsage.COPY_DST })
  const encoder = device.createCommandEncoder()
  encoder.copyBufferToBuffer(source, 0, staging, 0, source.size)
  device.queue.submit([encoder.finish()])
  await staging.mapAsync(GPUMapMode.READ)
  const bytes = staging.getMappedRange().slice(0)
  staging.destroy()
  return bytes
}
