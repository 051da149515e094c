import { PARAM_SLOT } from '../../engine/submit/pipelines.ts'
import { fillCase, findTouched, toleranceOf, valuesOf } from '../../kernels/fill.ts'
import type { Arrays, Binding, KernelCase, KernelEntry, KernelSpec, Variant } from '../../kernels/spec.ts'
import { bindingDtype, launchesOf, packParams } from '../../kernels/spec.ts'
import type { KernelDevice } from './device.ts'
import { assertClose } from './errors.ts'

export { normal, seededRandom as testRandom } from '../../kernels/fill.ts'

/** Number of poisoned elements after the end of every buffer; a kernel that writes there fails. */
export const GUARD = 64

/** The memory of every binding, by name. */
export type Memory = Map<string, ArrayBuffer>

/**
 * Runs one case on one variant, and compares every buffer that the kernel may write with the float64 reference. Guards must be
 * untouched, and values that are not finite fail before the norm-relative error is computed.
 */
export async function checkKernel(
  on: KernelDevice,
  entry: KernelEntry,
  kase: KernelCase,
  variant: Variant<any>,
): Promise<void> {
  const { spec } = entry
  const { memory, expected } = prepare(entry, kase)
  const results = await launch(on, spec, variant, kase.problem, memory)
  const label = `${spec.name}/${variant.name} ${kase.name}`
  for (const binding of spec.bindings) {
    const bytes = results.get(binding.name)
    if (bytes) compare(binding, kase, bytes, expected, label)
  }
}

interface Prepared {
  memory: Memory
  expected: Arrays
}

let ofKernel: KernelEntry | undefined
const ofCases = new Map<KernelCase, Prepared>()

/** The memory of a case and its float64 results, which all variants of a kernel share until a case of another kernel is asked for. */
function prepare(entry: KernelEntry, kase: KernelCase): Prepared {
  if (ofKernel !== entry) ofCases.clear()
  ofKernel = entry
  let prepared = ofCases.get(kase)
  if (!prepared) {
    const memory = fillCase(entry.spec, kase, GUARD)
    prepared = { memory, expected: entry.reference(kase.problem, arraysOf(entry.spec, kase, memory)) }
    ofCases.set(kase, prepared)
  }
  return prepared
}

/** The values in the memory of a case as float64, for its reference. */
export function arraysOf(spec: KernelSpec, kase: KernelCase, memory: Memory): Arrays {
  const arrays: Arrays = {}
  for (const binding of spec.bindings) {
    const { name } = binding
    arrays[name] = Float64Array.from(valuesOf(bindingDtype(binding, kase.problem), memory.get(name)!, kase.sizes[name]!))
  }
  return arrays
}

/** Runs the dispatches of a problem over a number of branches. @returns the memory of the bindings that the kernel may write */
export async function launch(
  on: KernelDevice,
  spec: KernelSpec,
  variant: Variant<any>,
  problem: Record<string, unknown>,
  memory: Memory,
  branches = 1,
): Promise<Memory> {
  const { device, capabilities } = on
  const constants = variant.constants?.(problem, capabilities) ?? {}
  const compiled = on.pipelines.get(spec, variant, constants)
  const pipeline = await compiled.ready
  const usage = GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_SRC | GPUBufferUsage.COPY_DST
  const buffers = spec.bindings.map((binding) => {
    const bytes = memory.get(binding.name)!
    const buffer = device.createBuffer({ size: bytes.byteLength, usage })
    device.queue.writeBuffer(buffer, 0, bytes)
    return buffer
  })
  const launches = launchesOf(spec, problem)
  const block = new ArrayBuffer(PARAM_SLOT * launches.length)
  const words = { u32: new Uint32Array(block), i32: new Int32Array(block), f32: new Float32Array(block) }
  for (const [i, each] of launches.entries()) packParams(spec.params, each, words, (i * PARAM_SLOT) / 4)
  const params = device.createBuffer({ size: block.byteLength, usage: GPUBufferUsage.UNIFORM | GPUBufferUsage.COPY_DST })
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
  const [x, y, z] = variant.grid(problem, constants)
  if (z !== 1) throw new Error(`${compiled.label}: z of a grid is for branches`)
  for (const i of launches.keys()) {
    const entries = [{ binding: 0, resource: { buffer: params, offset: i * PARAM_SLOT, size: PARAM_SLOT } }]
    pass.setBindGroup(1, device.createBindGroup({ layout: on.pipelines.paramLayout, entries }))
    pass.dispatchWorkgroups(x, y, branches)
  }
  pass.end()
  device.queue.submit([encoder.finish()])
  const error = await device.popErrorScope()
  if (error) throw new Error(`${compiled.label}: ${error.message}`)

  const results: Memory = new Map()
  for (const [i, { name, access }] of spec.bindings.entries()) {
    if (access === 'read_write') results.set(name, await readBuffer(device, buffers[i]!))
  }
  for (const buffer of [...buffers, params]) buffer.destroy()
  return results
}

/** Fails unless a binding has the values of the reference, and the poison after its end is untouched. */
export function compare(binding: Binding, kase: KernelCase, bytes: ArrayBuffer, expected: Arrays, label: string): void {
  const { name } = binding
  const size = kase.sizes[name]!
  const dtype = bindingDtype(binding, kase.problem)
  const touched = findTouched(dtype, bytes, size)
  if (touched >= 0) throw new Error(`${label}: wrote ${name}[${touched}], behind its end`)
  if (binding.scratch) return
  const want = expected[name]
  if (!want) throw new Error(`${label}: the reference gives no ${name}`)
  const actual = valuesOf(dtype, bytes, size)
  if (dtype === 'f32' || dtype === 'f16') {
    assertClose(actual, want, toleranceOf(kase, dtype), `${label}: ${name}`)
  } else {
    const at = want.findIndex((value, j) => value !== actual[j])
    if (at >= 0) throw new Error(`${label}: ${name}[${at}] is ${actual[at]}, expected ${want[at]}`)
  }
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
