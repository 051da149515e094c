import { kernelFamilies } from '../../kernels/index.ts'
import {
  type Capabilities,
  type KernelEntry,
  type KernelSpec,
  launchesOf,
  packParams,
  paramWords,
  runsOn,
} from '../../kernels/spec.ts'
import { specialize } from '../../kernels/specialize.ts'
import { benchCases } from '../kernelTargets.ts'
import type { Work } from './estimate.ts'
import { workgroupSize } from './workgroup.ts'

/** A compute shader to compile, with the work of a dispatch of it. */
export interface Source {
  /** A name such as `matmul/tiled 1024x1024x1024 NN`. */
  label: string
  code: string
  entryPoint?: string | undefined
  /** Values of the pipeline's overrides. */
  constants?: Record<string, number> | undefined
  /** Access to the storage buffers of group 0, beside parameters as our pipelines have them; default: the layout follows from the code. */
  storage?: readonly ('read' | 'read_write')[] | undefined
  /** Words of its uniform buffer, where they are known. */
  uniforms?: readonly number[] | undefined
  work: Work
}

/** A kernel's variant at a bench case. */
export interface KernelSource extends Source {
  kernel: string
  variant: string
  /** Whether the kernel's `choose` takes this variant for the case. */
  chosen: boolean
  /** Whether four elements of float32 or eight of float16 lie together in every row, as far as the sizes of the case say. */
  aligned: boolean
}

/**
 * Returns every variant of every kernel at each of its bench cases that runs on a device, one for each text: cases that compile to the same
 * code are one, the first.
 */
export function kernelSources(capabilities: Capabilities): KernelSource[] {
  const sources = new Map<string, KernelSource>()
  for (const entry of Object.values(kernelFamilies as Record<string, readonly KernelEntry[]>).flat()) {
    const { spec } = entry
    for (const { name, problem: whole } of benchCases(entry)) {
      // Of several launches the last one writes the result.
      const problem = launchesOf(spec, whole).at(-1)!
      const running = spec.variants.filter((variant) => runsOn(spec, variant, capabilities, problem))
      const wanted = spec.choose?.(capabilities, problem)
      const choice = running.find((variant) => variant.name === wanted) ?? running[0]
      for (const variant of running) {
        const constants = variant.constants?.(problem, capabilities) ?? {}
        const code = specialize(variant.source, constants)
        const known = sources.get(`${spec.name}\n${code}`)
        if (known) {
          known.chosen ||= variant === choice
          continue
        }
        const [x, y, z] = variant.grid(problem, constants)
        const size = workgroupSize(code)
        if (!size) throw new Error(`${spec.name}/${variant.name}: the size of its workgroups cannot be read`)
        sources.set(`${spec.name}\n${code}`, {
          label: `${spec.name}/${variant.name} ${name.replace(/^bench /, '')}`,
          kernel: spec.name,
          variant: variant.name,
          chosen: variant === choice,
          aligned: isAligned(name),
          code,
          uniforms: uniformsOf(spec, problem),
          storage: spec.bindings.map(({ access }) => access),
          work: {
            workgroups: x * y * z,
            invocations: size[0] * size[1] * size[2],
            flops: spec.flops(whole),
            bytes: spec.bytes(whole),
          },
        })
      }
    }
  }
  return [...sources.values()]
}

/** Returns the parameter block of a problem as words. */
function uniformsOf({ params }: KernelSpec, problem: Record<string, unknown>): number[] {
  const memory = new ArrayBuffer(4 * paramWords(params))
  const u32 = new Uint32Array(memory)
  packParams(params, problem, { u32, i32: new Int32Array(memory), f32: new Float32Array(memory) }, 0)
  return [...u32]
}

/** Whether the sizes in a case's name, such as 1024x1024x1024 or [4,4,256,256,64], are multiples of four; those of less than 16 are counts. */
function isAligned(name: string): boolean {
  return [...name.matchAll(/\b\d+(?=\b|x)/g)].every(([size]) => Number(size) < 16 || Number(size) % 4 === 0)
}
