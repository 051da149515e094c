import type { Capabilities, Constants, Grid, KernelSpec, Variant } from '../../kernels/spec.ts'
import { runsOn } from '../../kernels/spec.ts'
import type { CompiledKernel, PipelineCache } from '../submit/pipelines.ts'
import type { KernelLaunch } from './recorder.ts'

/** Tuned variants as JSON, for checkpoints and for other processes. */
export interface TunedJson {
  /** A key of the device and its driver. */
  device: string
  /** Names of variants by kernel and shape class. */
  answers: Record<string, string>
}

/** Chooses variants of kernels by measurements. */
export interface VariantChooser {
  /** Returns the name of the fastest variant, or undefined where none was measured. */
  choose<P>(spec: KernelSpec<P>, problem: P, capabilities: Capabilities): string | undefined
  toJSON(): TunedJson
}

/** A compiled kernel, which may still be compiling, and the grid of one launch. */
interface SelectedKernel {
  kernel: CompiledKernel
  grid: Grid
}

/** Chooses variants of kernels for a device, and has them compiled. */
export class KernelSelection {
  /** Names of variants by kernel name; they take precedence over all others. */
  readonly pinned = new Map<string, string>()
  /** Chooses the variant where none is pinned or named. */
  tuned: VariantChooser | undefined
  readonly #capabilities: Capabilities
  readonly #pipelines: PipelineCache
  readonly #name: string

  /** @param name of the device, for messages */
  constructor(capabilities: Capabilities, pipelines: PipelineCache, name: string) {
    this.#capabilities = capabilities
    this.#pipelines = pipelines
    this.#name = name
  }

  /**
   * Chooses the variant for a problem: the pinned one, the one named, the tuned one, or the spec's own choice. Where that does not run, it is
   * the first that does.
   * @throws Error when no variant runs on the device
   */
  variant<P>(spec: KernelSpec<P>, problem: P, name?: string): Variant<P> {
    const tuned = () => this.tuned?.choose(spec, problem, this.#capabilities)
    const wanted = this.pinned.get(spec.name) ?? name ?? tuned() ?? spec.choose?.(this.#capabilities, problem)
    const runs = (variant: Variant<P>) => runsOn(spec, variant, this.#capabilities, problem)
    const found =
      spec.variants.find((variant) => (wanted === undefined || variant.name === wanted) && runs(variant)) ??
      spec.variants.find(runs)
    if (!found) throw new Error(`${spec.name}: no variant runs on ${this.#name}`)
    return found
  }

  /** Returns the kernel and the grid for a launch. @throws Error when no variant runs, or the device does not take the grid */
  select({ spec, problem, variant: name, op }: KernelLaunch): SelectedKernel {
    const variant = this.variant(spec, problem, name)
    const constants: Constants = variant.constants?.(problem, this.#capabilities) ?? {}
    const grid = variant.grid(problem, constants)
    const limit = this.#capabilities.maxWorkgroups
    if (grid.some((count) => !(count >= 1 && count <= limit))) {
      throw new Error(`${op}: kernel ${spec.name}/${variant.name} needs a grid of ${grid.join('x')}, the device takes ${limit}`)
    }
    return { kernel: this.#pipelines.get(spec, variant, constants), grid }
  }
}
