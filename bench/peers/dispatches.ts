/** A dispatch that a library recorded. */
export interface Dispatch {
  /** WGSL of the pipeline's module. */
  code: string
  entryPoint: string | undefined
  /** Values of the pipeline's overrides. */
  constants: Record<string, number> | undefined
  /** Workgroups in x, y and z. */
  grid: [number, number, number]
  /** Bytes of all buffers bound. */
  bytes: number
  /** Words of the first uniform buffer bound, as far as the host wrote them. */
  uniforms: number[]
}

/** A part of a buffer's bytes as the host wrote them. */
interface Written {
  bytes: Uint8Array
  offset: number
  size: number
}

/** A bind group: the bytes of its buffers, and its uniform buffer. */
interface Group {
  bytes: number
  uniform: Written | undefined
}

/** The state that a pass has set. */
interface State {
  made?: Made | undefined
  groups: Map<number, Group>
}

/** Bytes of a uniform buffer that may matter to a shader. */
const MOST_UNIFORM = 1024

interface Made {
  code: string
  entryPoint: string | undefined
  constants: Record<string, number> | undefined
}

/**
 * Watches every device of this process, through the prototypes of WebGPU.
 * @returns a function that gives the dispatches since its last call, in the order in which they were recorded
 */
export function watchDispatches(): () => Dispatch[] {
  const codes = new WeakMap<GPUShaderModule, string>()
  const pipelines = new WeakMap<GPUComputePipeline, Made>()
  const groups = new WeakMap<GPUBindGroup, Group>()
  const states = new WeakMap<GPUComputePassEncoder, State>()
  const written = new WeakMap<GPUBuffer, Uint8Array>()
  let dispatches: Dispatch[] = []
  // Dispatches that are not submitted yet, whose uniform buffers may still be written.
  let open: { dispatch: Dispatch; uniform: Written }[] = []
  const stateOf = (pass: GPUComputePassEncoder): State => {
    const state = states.get(pass) ?? { groups: new Map() }
    states.set(pass, state)
    return state
  }
  const madeBy = ({ compute }: GPUComputePipelineDescriptor): Made => ({
    code: codes.get(compute.module) ?? '',
    entryPoint: compute.entryPoint,
    constants: compute.constants && { ...compute.constants },
  })
  after(GPUDevice.prototype, 'createShaderModule', (module, [{ code }]) => codes.set(module, code))
  after(GPUDevice.prototype, 'createComputePipeline', (pipeline, [descriptor]) => pipelines.set(pipeline, madeBy(descriptor)))
  after(GPUDevice.prototype, 'createComputePipelineAsync', (pending, [descriptor]) => {
    const made = madeBy(descriptor)
    pending.then((pipeline) => pipelines.set(pipeline, made)).catch(() => {})
  })
  after(GPUDevice.prototype, 'createBuffer', (buffer, [{ size, usage }]) => {
    if (usage & GPUBufferUsage.UNIFORM) written.set(buffer, new Uint8Array(size))
  })
  after(GPUQueue.prototype, 'writeBuffer', (_, [buffer, offset, data, from = 0, count]) => {
    const bytes = written.get(buffer)
    if (!bytes) return
    const unit = 'BYTES_PER_ELEMENT' in data ? (data.BYTES_PER_ELEMENT as number) : 1
    const [memory, start] = ArrayBuffer.isView(data) ? [data.buffer, data.byteOffset] : [data, 0]
    const size = count === undefined ? data.byteLength - from * unit : count * unit
    bytes.set(new Uint8Array(memory, start + from * unit, size), offset)
  })
  after(GPUDevice.prototype, 'createBindGroup', (group, [{ entries }]) => {
    const all = [...entries].map(({ resource }) => resource)
    const uniform = all.map((resource) => writtenIn(resource, written)).find((found) => found !== undefined)
    groups.set(group, { bytes: all.reduce((sum, resource) => sum + bytesOf(resource), 0), uniform })
  })
  const pass = GPUComputePassEncoder.prototype
  after(pass, 'setPipeline', function (_, [pipeline]) {
    stateOf(this).made = pipelines.get(pipeline)
  })
  after(pass, 'setBindGroup', function (_, [index, group, offsets]) {
    const found = group && groups.get(group)
    if (!found) return
    const [moved = 0] = offsets ?? []
    const { uniform } = found
    stateOf(this).groups.set(index, { ...found, uniform: uniform && { ...uniform, offset: uniform.offset + moved } })
  })
  after(pass, 'dispatchWorkgroups', function (_, [x, y = 1, z = 1]) {
    const { made, groups: bound } = stateOf(this)
    if (!made) return
    const all = [...bound.values()]
    const dispatch: Dispatch = { ...made, grid: [x, y, z], bytes: all.reduce((sum, { bytes }) => sum + bytes, 0), uniforms: [] }
    dispatches.push(dispatch)
    const uniform = all.find((group) => group.uniform)?.uniform
    if (uniform) open.push({ dispatch, uniform })
  })
  after(GPUQueue.prototype, 'submit', () => {
    for (const { dispatch, uniform } of open) {
      const bytes = uniform.bytes.slice(uniform.offset, uniform.offset + Math.min(uniform.size, MOST_UNIFORM))
      dispatch.uniforms = [...new Uint32Array(bytes.buffer, 0, Math.floor(bytes.byteLength / 4))]
    }
    open = []
  })
  return () => {
    const found = dispatches
    dispatches = []
    return found
  }
}

/** Replaces a method by one that calls it and then tells of the call. */
function after<T extends object, K extends keyof T>(
  prototype: T,
  name: K,
  tell: T[K] extends (...args: infer A) => infer R ? (this: T, result: R, args: A) => void : never,
): void {
  const method = prototype[name] as (...args: unknown[]) => unknown
  prototype[name] = function (this: T, ...args: unknown[]) {
    const result = method.apply(this, args)
    ;(tell as (this: T, result: unknown, args: unknown[]) => void).call(this, result, args)
    return result
  } as T[K]
}

function bytesOf(resource: GPUBindingResource): number {
  if ('buffer' in resource) return resource.size ?? resource.buffer.size - (resource.offset ?? 0)
  return 'size' in resource && typeof resource.size === 'number' ? resource.size : 0
}

/** Returns the bytes of a binding to a uniform buffer. */
function writtenIn(resource: GPUBindingResource, written: WeakMap<GPUBuffer, Uint8Array>): Written | undefined {
  if (!('buffer' in resource)) return undefined
  const bytes = written.get(resource.buffer)
  const offset = resource.offset ?? 0
  return bytes && { bytes, offset, size: resource.size ?? bytes.byteLength - offset }
}
