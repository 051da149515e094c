import type { Capabilities, Constants, Grid, KernelSpec, Variant } from '../../kernels/spec.ts'
import { runsOn } from '../../kernels/spec.ts'
import type { LaunchStep } from '../../kernels/step.ts'
import { isShared } from '../layout/layoutMemo.ts'
import type { CompiledKernel, PipelineCache } from '../submit/pipelines.ts'
import { SharedBlock } from '../submit/stream.ts'
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

/** The decision for a launch: a compiled kernel, which may still be compiling, and the grid. */
interface Decision {
  spec: KernelSpec
  kernel: CompiledKernel
  grid: Grid
  /** The parameters, where many launches share the problem. */
  block: SharedBlock | undefined
  /** The launch as a step of a chain, where it can be one and many launches share the problem. */
  step: LaunchStep | undefined
}

/** Chooses variants of kernels for a device, and has them compiled. */
export class KernelSelection {
  /** Names of variants by kernel name; they take precedence over all others. */
  readonly pinned = new Map<string, string>()
  #tuned: VariantChooser | undefined
  /** Decisions for shared problems where no variant was pinned or named. */
  #decisions = new WeakMap<object, Decision>()
  readonly #capabilities: Capabilities
  readonly #pipelines: PipelineCache
  readonly #name: string

  /** @param name of the device, for messages */
  constructor(capabilities: Capabilities, pipelines: PipelineCache, name: string) {
    this.#capabilities = capabilities
    this.#pipelines = pipelines
    this.#name = name
  }

  /** Chooses the variant where none is pinned or named. */
  get tuned(): VariantChooser | undefined {
    return this.#tuned
  }

  set tuned(tuned: VariantChooser | undefined) {
    this.#tuned = tuned
    this.#decisions = new WeakMap()
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

  /**
   * Returns the kernel and the grid for a launch. For a shared problem they are decided once.
   * @throws Error when no variant runs, or the device does not take the grid
   */
  select(launch: KernelLaunch): Decision {
    const { spec, problem, variant } = launch
    if (variant !== undefined || this.pinned.size > 0) return this.#decide(launch)
    const found = this.#decisions.get(problem)
    if (found?.spec === spec) return found
    const decision = this.#decide(launch)
    if (isShared(problem)) {
      decision.block = new SharedBlock(spec.params, problem)
      decision.step = spec.chainStep?.(problem)
      this.#decisions.set(problem, decision)
    }
    return decision
  }

  #decide({ spec, problem, variant: name, op }: KernelLaunch): Decision {
    const variant = this.variant(spec, problem, name)
    const constants: Constants = variant.constants?.(problem, this.#capabilities) ?? {}
    const grid = variant.grid(problem, constants)
    const limit = this.#capabilities.maxWorkgroups
    if (grid.some((count) => !(count >= 1 && count <= limit))) {
      throw new Error(`${op}: kernel ${spec.name}/${variant.name} needs a grid of ${grid.join('x')}, the device takes ${limit}`)
    }
    return { spec, kernel: this.#pipelines.get(spec, variant, constants), grid, block: undefined, step: undefined }
  }
}
