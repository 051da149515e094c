import type { Constants, KernelSpec, Variant } from '../../kernels/spec.ts'
import { paramWords } from '../../kernels/spec.ts'
import { specialize } from '../../kernels/specialize.ts'
import { KernelCompileError } from '../base/errors.ts'
import { getOrMake } from '../base/maps.ts'

/** Bytes from one parameter block to the next: the alignment of uniform bindings. */
export const PARAM_SLOT = 256

/** A kernel variant compiled for fixed constants. */
export interface CompiledKernel {
  readonly id: number
  readonly label: string
  /** Identifies `bindGroupLayout`; kernels with equal layouts can share bind groups. */
  readonly layout: number
  readonly bindGroupLayout: GPUBindGroupLayout
  /** The pipeline, once the driver has compiled it. */
  pipeline: GPUComputePipeline | undefined
  /** The error, once the driver has refused the kernel. */
  error: Error | undefined
  /** Resolves when the driver has compiled the kernel; rejects with a KernelCompileError. */
  readonly ready: Promise<GPUComputePipeline>
}

/**
 * Compiles each (kernel, variant, constants) once, asynchronously and in parallel. Storage buffers are bind group 0 in the order of the
 * spec; the parameter block is a uniform at group 1, binding 0.
 */
export class PipelineCache {
  readonly paramLayout: GPUBindGroupLayout
  readonly #device: GPUDevice
  readonly #compiled = new Map<string, CompiledKernel>()
  readonly #compiling = new Set<Promise<unknown>>()
  #holding: ReturnType<typeof setInterval> | undefined
  readonly #layouts = new Map<string, { id: number; bindGroupLayout: GPUBindGroupLayout; pipelineLayout: GPUPipelineLayout }>()

  constructor(device: GPUDevice) {
    this.#device = device
    this.paramLayout = device.createBindGroupLayout({
      label: 'params',
      entries: [{ binding: 0, visibility: GPUShaderStage.COMPUTE, buffer: { type: 'uniform' } }],
    })
  }

  /** The number of pipelines compiled or compiling. */
  get size(): number {
    return this.#compiled.size
  }

  /** Returns a kernel. The first call starts its compilation, which the submission queue waits for. */
  get(spec: KernelSpec, variant: Variant<any>, constants: Constants): CompiledKernel {
    const key = `${spec.name}/${variant.name} ${JSON.stringify(constants)}`
    return getOrMake(this.#compiled, key, () => this.#compile(spec, variant, constants, key))
  }

  #compile(spec: KernelSpec, variant: Variant<any>, constants: Constants, label: string): CompiledKernel {
    if (paramWords(spec.params) * 4 > PARAM_SLOT) throw new Error(`${spec.name}: parameters exceed ${PARAM_SLOT} bytes`)
    const { id: layout, bindGroupLayout, pipelineLayout } = this.#layout(spec)
    const code = specialize(variant.source, constants)
    const device = this.#device
    device.pushErrorScope('validation')
    const module = device.createShaderModule({ label, code })
    const moduleError = device.popErrorScope()
    const ready = device
      .createComputePipelineAsync({ label, layout: pipelineLayout, compute: { module, entryPoint: 'main' } })
      .catch(async (error: unknown) => {
        await moduleError
        const { messages } = await module.getCompilationInfo()
        const lines = messages.map((m) => `${m.type} at ${m.lineNum}:${m.linePos}: ${m.message}`)
        const detail = lines.length > 0 ? lines.join('; ') : error instanceof Error ? error.message : String(error)
        throw new KernelCompileError(`kernel ${label} does not compile: ${detail}`)
      })
    const kernel: CompiledKernel = {
      id: this.#compiled.size,
      label,
      layout,
      bindGroupLayout,
      pipeline: undefined,
      error: undefined,
      ready: ready.then(
        (pipeline) => {
          kernel.pipeline = pipeline
          return pipeline
        },
        (error: Error) => {
          kernel.error = error
          throw error
        },
      ),
    }
    this.#hold(kernel.ready)
    return kernel
  }

  /** Resolves when nothing is being compiled. */
  async idle(): Promise<void> {
    while (this.#compiling.size > 0) await Promise.all(this.#compiling)
  }

  /** Keeps the process alive until a compilation ends: a process that ends while the driver's threads compile crashes. */
  #hold(ready: Promise<unknown>): void {
    this.#holding ??= setInterval(() => {}, 1000)
    const done = () => {
      this.#compiling.delete(settled)
      if (this.#compiling.size > 0) return
      clearInterval(this.#holding)
      this.#holding = undefined
    }
    // The submission queue reports a kernel that does not compile; an unused one must not end the process as an unhandled rejection.
    const settled: Promise<void> = ready.then(done, done)
    this.#compiling.add(settled)
  }

  #layout(spec: KernelSpec) {
    const access = spec.bindings.map((binding) => binding.access).join()
    return getOrMake(this.#layouts, access, () => {
      const bindGroupLayout = this.#device.createBindGroupLayout({
        label: access,
        entries: spec.bindings.map((binding, i) => ({
          binding: i,
          visibility: GPUShaderStage.COMPUTE,
          buffer: { type: binding.access === 'read' ? 'read-only-storage' : 'storage' },
        })),
      })
      const pipelineLayout = this.#device.createPipelineLayout({
        label: access,
        bindGroupLayouts: [bindGroupLayout, this.paramLayout],
      })
      return { id: this.#layouts.size, bindGroupLayout, pipelineLayout }
    })
  }
}
